//! Many bodies at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use causerie_tests::{Server, WITHIN};

use crate::document::limit;
use crate::exchange::{bearer, request, server, statuses};

#[test]
fn bodies_that_never_end_take_so_much_memory_and_no_more() {
    let server = server();
    let token = bearer(&server.token("ada"));
    let length = limit("API_BODY_BYTES");
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}\r\nContent-Length: {length}\r\n\r\n",
        server.address()
    );
    let unended = [head.as_bytes(), " ".repeat(length - 1).as_bytes()].concat();
    let deadline = Instant::now() + WITHIN;
    let (refused, open) = loop {
        // One more than there is room for. It is refused, or another that is still on its way; on a slow machine the time of the
        // first may be over before that, and all is tried again.
        let open: Vec<_> = (0..=limit("HTTP_BODIES_BYTES") / length).map(|_| sent(&server, &unended)).collect();
        let answer = first_answer(&open);
        if statuses(&answer) == [503] {
            break (String::from_utf8(answer).unwrap(), open);
        }
        assert!(Instant::now() < deadline, "one is never too many: {:?}", String::from_utf8_lossy(&answer));
    };
    assert!(refused.contains("\"no_room_for_body\""), "{refused}");
    assert!(refused.to_ascii_lowercase().contains("\r\nretry-after: 5\r\n"), "{refused}");
    // What has no body is answered meanwhile, and all when they are gone.
    assert_eq!(request(&server, "GET", "/v1/models", &[&token], b"").status, 200);
    drop(open);
    while request(&server, "POST", "/v1/embeddings", &[&token], &[b' '; 4096]).status == 503 {
        assert!(Instant::now() < deadline, "there is no room, with nobody there");
    }
}

fn sent(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    stream
}

/// What comes first on any of these, to its end.
fn first_answer(streams: &[TcpStream]) -> Vec<u8> {
    for mut stream in streams.iter().cycle() {
        let mut byte = [0];
        if stream.read(&mut byte).is_ok() {
            stream.set_read_timeout(Some(WITHIN)).unwrap();
            let mut answer = byte.to_vec();
            let _ = stream.read_to_end(&mut answer);
            return answer;
        }
    }
    unreachable!("there are streams, and a server answers in the end")
}
