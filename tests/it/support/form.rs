//! A form with files in it (RFC 7578), read strictly: every deviation from the standard fails the test.

use super::upstream::Request;

/// A part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) value: Vec<u8>,
}

/// Returns the parts of a request's form, in their order.
pub(crate) fn parts(request: &Request) -> Vec<Part> {
    let content_type = request.header("content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert!(
        boundary.len() >= 24 && boundary.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
        "{boundary}"
    );
    let first = format!("--{boundary}");
    let mut rest =
        request.body.strip_prefix(first.as_bytes()).expect("the form must begin with its boundary");
    let next = format!("\r\n--{boundary}");
    let mut parts = Vec::new();
    loop {
        if rest == b"--\r\n" {
            return parts;
        }
        let part = rest.strip_prefix(b"\r\n").expect("a line must end after a boundary");
        let end = find(part, next.as_bytes()).expect("a part must end with a boundary");
        parts.push(read(&part[..end]));
        rest = &part[end + next.len()..];
    }
}

fn read(part: &[u8]) -> Part {
    let end = find(part, b"\r\n\r\n").expect("a part must have a head");
    let head = std::str::from_utf8(&part[..end]).unwrap();
    let header = |name: &str| {
        let mut lines = head.split("\r\n").map(|line| line.split_once(": ").expect("a header"));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let disposition = header("content-disposition").unwrap();
    let mut words = disposition.split("; ");
    assert_eq!(words.next(), Some("form-data"), "{disposition}");
    let quoted = |name: &str| {
        let start = format!("{name}=\"");
        let word = disposition.split("; ").find_map(|word| word.strip_prefix(&start))?;
        Some(word.strip_suffix('"').expect("a quote must be closed").to_owned())
    };
    Part {
        name: quoted("name").unwrap(),
        file_name: quoted("filename"),
        content_type: header("content-type"),
        value: part[end + 4..].to_vec(),
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// Returns the values of the fields that are no files, by name, in their order.
pub(crate) fn fields(parts: &[Part]) -> Vec<(&str, String)> {
    let fields = parts.iter().filter(|part| part.file_name.is_none());
    fields.map(|part| (part.name.as_str(), String::from_utf8(part.value.clone()).unwrap())).collect()
}
