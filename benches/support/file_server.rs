//! A server of one file, on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::Outcome;

/// Starts one that serves a WAV under every path, until the process ends.
pub(crate) fn serve_file(wav: Arc<[u8]>) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let wav = Arc::clone(&wav);
            // A download that breaks off is told by the task that asked for it.
            thread::spawn(move || serve(&socket, &wav));
        }
    });
    Ok(address)
}

fn serve(mut socket: &TcpStream, wav: &[u8]) -> Outcome<()> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        wav.len()
    );
    socket.write_all(head.as_bytes())?;
    Ok(socket.write_all(wav)?)
}
