//! Server-sent events over HTTP/1.1, as much of both as an OpenAI-compatible server's stream needs.

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use smol::Async;
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// Bytes of a chunk of the stream: one event is some hundred.
const CHUNK_BYTES: usize = 1 << 20;

/// An answer as it comes.
pub(crate) struct Stream {
    reader: BufReader<Async<TcpStream>>,
    /// Bytes that came and make no whole line yet.
    rest: Vec<u8>,
    /// Whole lines that came and were not yet given.
    lines: std::collections::VecDeque<Vec<u8>>,
}

impl Stream {
    /// Asks; the server has answered 200 when this returns.
    pub(crate) async fn post(server: SocketAddr, path: &str, body: &Value) -> Result<Stream, String> {
        let failed = |error: std::io::Error| format!("{server}: {error}");
        let mut stream = Async::<TcpStream>::connect(server).await.map_err(failed)?;
        stream.get_ref().set_nodelay(true).map_err(failed)?;
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.map_err(failed)?;
        let mut reader = BufReader::new(stream);
        let status = line(&mut reader).await?;
        let mut chunked = false;
        loop {
            let field = line(&mut reader).await?.to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            chunked |= field.starts_with("transfer-encoding:") && field.contains("chunked");
        }
        if !status.contains(" 200 ") || !chunked {
            let mut text = String::new();
            let _ = reader.take(CHUNK_BYTES as u64).read_to_string(&mut text).await; // what could be read is shown
            return Err(format!("no stream came, but {status}: {text}"));
        }
        Ok(Stream { reader, rest: Vec::new(), lines: std::collections::VecDeque::new() })
    }

    /// The data of the next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            while let Some(line) = self.lines.pop_front() {
                match line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) {
                    Some(b"[DONE]") => return Ok(None),
                    Some(data) => return serde_json::from_slice(data).map(Some).map_err(|error| error.to_string()),
                    None => {}
                }
            }
            if !self.chunk().await? {
                return Ok(None);
            }
        }
    }

    /// Reads one chunk (RFC 9112, section 7.1); false at the last.
    async fn chunk(&mut self) -> Result<bool, String> {
        let size = line(&mut self.reader).await?;
        let size = usize::from_str_radix(&size, 16).ok().filter(|&size| size <= CHUNK_BYTES);
        let size = size.ok_or("a chunk of the stream has no length that can be")?;
        if size == 0 {
            return Ok(false);
        }
        let mut chunk = vec![0; size + 2]; // with the line break that ends it
        self.reader.read_exact(&mut chunk).await.map_err(|error| error.to_string())?;
        self.rest.extend(&chunk[..size]);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line = self.rest.drain(..=end).collect::<Vec<u8>>();
            self.lines.push_back(line.trim_ascii_end().to_vec());
        }
        Ok(true)
    }
}

async fn line(reader: &mut BufReader<Async<TcpStream>>) -> Result<String, String> {
    let mut line = String::new();
    reader.read_line(&mut line).await.map_err(|error| error.to_string())?;
    if line.is_empty() { Err("the connection ended in the middle".to_owned()) } else { Ok(line.trim_end().to_owned()) }
}
