//! Requests as a server takes them in: whole, and without a thought for what stands in them.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;

use super::Outcome;

/// Takes in the next request on a connection and returns its first line; `None` where the connection ends.
pub(crate) fn request(reader: &mut BufReader<TcpStream>) -> Outcome<Option<String>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err("a request ends within its head".into());
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?;
            }
            Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                return Err("a request does not tell its length".into());
            }
            _ => {}
        }
    }
    let body = std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
    if body == length { Ok(Some(first)) } else { Err("a request ends within its body".into()) }
}
