use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a byte to cross the loopback many times.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that says everything back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                // Ends with the connection, however that ends.
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn client(relay: &Relay) -> TcpStream {
    TcpStream::connect(relay.addr()).await.unwrap()
}

async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    read.expect("an answer or an error")?;
    Ok(answer)
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    timeout(SILENCE, stream.read(&mut byte)).await.is_err()
}

#[tokio::test]
async fn without_trouble_it_is_not_there() {
    let relay = Relay::to(echo().await).await;
    let mut stream = client(&relay).await;
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    // A half that is closed goes through as well.
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty());
    assert_eq!(relay.connections(), 1);
}

#[tokio::test]
async fn a_bit_is_turned_in_answers_only() {
    let relay = Relay::to(echo().await).await;
    let mut stream = client(&relay).await;
    relay.make(Trouble::FlipBit { offset: 1, bit: 0 });
    assert_eq!(ask(&mut stream, b"abc").await.unwrap(), b"acc");
    relay.clear();
    assert_eq!(ask(&mut stream, b"abc").await.unwrap(), b"abc");
}

#[tokio::test]
async fn a_dead_line_says_nothing_and_comes_back() {
    let relay = Relay::to(echo().await).await;
    let mut stream = client(&relay).await;
    for trouble in [Trouble::HalfOpen, Trouble::DropAnswers] {
        relay.make(trouble);
        stream.write_all(b"lost").await.unwrap();
        assert!(is_silent(&mut stream).await, "{trouble:?}");
        relay.clear();
        assert_eq!(ask(&mut stream, b"back").await.unwrap(), b"back");
    }
}

#[tokio::test]
async fn a_reset_breaks_what_is_open_and_what_is_new() {
    let relay = Relay::to(echo().await).await;
    let mut stream = client(&relay).await;
    ask(&mut stream, b"x").await.unwrap();
    relay.make(Trouble::Reset);
    let mut byte = [0];
    let ended = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut refused = client(&relay).await;
    let ended = timeout(PATIENCE, refused.read(&mut byte)).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    relay.clear();
    assert_eq!(
        ask(&mut client(&relay).await, b"new").await.unwrap(),
        b"new"
    );
}

#[tokio::test]
async fn a_slow_line_and_a_late_one_lose_nothing() {
    let relay = Relay::to(echo().await).await;
    let mut stream = client(&relay).await;
    for trouble in [
        Trouble::Slow(2_000),
        Trouble::Delay(Duration::from_millis(20)),
    ] {
        relay.make(trouble);
        assert_eq!(ask(&mut stream, b"piecewise").await.unwrap(), b"piecewise");
    }
}
