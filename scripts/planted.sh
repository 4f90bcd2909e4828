# What the scripts share that plant bugs, each a patch in KIND/planted; sourced by them, from the project's folder.

# choose_planted KIND [NAME...]: sets `planted` to these names, or to all that there are.
choose_planted() {
  local kind=$1
  planted=("${@:2}")
  [[ ${#planted[@]} -gt 0 ]] || mapfile -t planted < <(basename -s .patch "$kind"/planted/*.patch)
}

# plant KIND NAME TREE: makes TREE a checkout of HEAD with the patch in it.
plant() {
  git worktree prune
  rm -rf "$3"
  git worktree add --quiet --force --detach "$3" HEAD
  git -C "$3" apply "$PWD/$1/planted/$2.patch"
}
