#!/usr/bin/env bash
# Undefined behaviour in the pure crates and in what they use: their tests under Miri. It needs a nightly toolchain with
# the components miri and rust-src, which are added if that is allowed. Where there is no Miri the script says so, and
# runs the same tests under AddressSanitizer (any nightly) or else valgrind, which see less.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target

has_nightly() { command -v rustup > /dev/null && rustup toolchain list | grep -q '^nightly'; }

has_miri() {
    has_nightly || return 1
    cargo +nightly miri --version > /dev/null 2>&1 ||
        timeout 120 rustup component add --toolchain nightly miri rust-src > target/miri-install.log 2>&1
}

packages=(-p downbeat-wire -p downbeat-engine)
if has_miri; then
    # Some thousand times slower than the machine: so few generated cases, and not these, which are exhaustive (every
    # character there is, every split or prefix of every sample, every byte at every place) or hash ten thousand codes.
    excluded=(
        --skip goes_on_exactly_while_some_character_could_follow
        --skip every_split_in_three_ends_like_the_whole
        --skip every_split_in_two_ends_like_the_whole
        --skip byte_by_byte_ends_like_the_whole
        --skip no_prefix_of_an_upgrade_is_refused_or_complete
        --skip a_head_that_drips_in_is_parsed_three_times_a_line_and_not_once_a_byte
        --skip what_is_not_parsed_again_could_not_have_changed_the_outcome
        --skip a_string_ends_at_its_first_byte_that_is_not_plain_wherever_that_is
        --skip eight_digits_are_the_number_they_spell
        --skip rooms_spread_evenly_and_differently_under_each_key
        --skip every_split_of_a_session_in_two_and_byte_by_byte_ends_alike
        --skip a_message_of_just_the_limit_passes
    )
    # The unit tests; with `scripts/miri.sh all` the engine's scripts of several shards as well, which take much longer.
    kinds=(--lib)
    [[ ${1:-} != all ]] || kinds+=(--tests)
    # proptest asks for the working folder, which isolation refuses.
    MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=2 \
        cargo +nightly miri test --quiet "${packages[@]}" "${kinds[@]}" -- "${excluded[@]}"
    exit 0
fi

echo "SKIPPED: Miri did not run: there is no nightly toolchain with it, and none could be added"
if has_nightly; then
    echo "Instead: the tests of wire and engine under AddressSanitizer"
    RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
        cargo +nightly test --quiet --target "$(rustc -vV | sed -n 's/^host: //p')" "${packages[@]}" --lib --tests
elif command -v valgrind > /dev/null; then
    echo "Instead: the tests of wire and engine under valgrind"
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=99" PROPTEST_CASES=8 \
        cargo test --quiet "${packages[@]}" --lib --tests -- \
        --skip goes_on_exactly_while_some_character_could_follow
else
    echo "SKIPPED: neither AddressSanitizer nor valgrind is here"
fi
