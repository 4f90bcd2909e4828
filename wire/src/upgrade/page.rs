//! The one page that may be served beside the WebSockets: the answer to a plain GET or HEAD of `/`.
//!
//! Which page, and whether there is one, the caller decides; without it `/` is not found, like any other path.
//! The answer closes, as refusals do, and carries no CORS fields: no other page has a use for it.

/// A page of HTML, whole and self-contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its Content-Security-Policy, visible ASCII.
    pub policy: String,
    /// Its bytes, in UTF-8.
    pub body: Vec<u8>,
}

impl Page {
    /// Appends the whole response; without its body if `head_only`, as the answer to HEAD must be.
    pub fn write(&self, head_only: bool, out: &mut Vec<u8>) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\nCache-Control: no-cache\r\nContent-Security-Policy: {}\r\n\
             X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n",
            self.body.len(),
            self.policy
        );
        out.extend_from_slice(head.as_bytes());
        if !head_only {
            out.extend_from_slice(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn it_is_html_that_is_asked_for_anew_each_time_and_head_gets_no_body() {
        let page = Page { policy: "default-src 'none'".to_owned(), body: b"<!doctype html>\n".to_vec() };
        let (mut whole, mut head) = (Vec::new(), Vec::new());
        page.write(false, &mut whole);
        page.write(true, &mut head);
        expect![[r#"
            HTTP/1.1 200 OK~
            Connection: close~
            Content-Type: text/html; charset=utf-8~
            Content-Length: 16~
            Cache-Control: no-cache~
            Content-Security-Policy: default-src 'none'~
            X-Content-Type-Options: nosniff~
            Referrer-Policy: no-referrer~
            ~
            <!doctype html>
        "#]]
        .assert_eq(&String::from_utf8(whole.clone()).unwrap().replace("\r\n", "~\n"));
        assert_eq!(head, whole[..whole.len() - page.body.len()]);
    }
}
