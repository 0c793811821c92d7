//! Connections: few, short, and of bounded size, whoever is at the other end.

use std::{collections::VecDeque, convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{Exporter, own::Refused};

/// Connections at a time; a newer one takes the place of the oldest.
pub const CONNECTIONS: usize = 128;

/// How long a client may take to say what it wants.
const ASKING: Duration = Duration::from_secs(5);

/// How long a connection may take as a whole; Prometheus gives up after 10 s unless told otherwise.
const WHOLE: Duration = Duration::from_secs(30);

/// What is read of a request at most.
const REQUEST: usize = 16 << 10;

/// Headers of a request.
const HEADERS: usize = 64;

/// How long answers that are under way may take when vnet stops.
const LEAVE: Duration = Duration::from_secs(2);

/// Answers until `stop` is ready.
pub(super) async fn run(listener: TcpListener, exporter: &Arc<Exporter>, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut tasks = JoinSet::new();
    let mut order: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = stream else {
            // Out of descriptors, or the client has gone again: the next may fare better in a moment.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        order.retain(|task| !task.is_finished());
        if order.len() >= CONNECTIONS
            && let Some(oldest) = order.pop_front()
        {
            oldest.abort();
            exporter.shared.tally.refuse(Refused::Crowded);
        }
        order.push_back(tasks.spawn(connection(stream, Arc::clone(exporter))));
    }
    drop(listener);
    let leave = async { while tasks.join_next().await.is_some() {} };
    // What is not done by then is cut off as the set is dropped.
    let _late = timeout(LEAVE, leave).await;
}

/// One connection, in TLS where that is wanted.
async fn connection(stream: TcpStream, exporter: Arc<Exporter>) {
    let Some(tls) = &exporter.web.tls else { return talk(stream, &exporter).await };
    match timeout(ASKING, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, &exporter).await,
        Ok(Err(_)) => exporter.shared.tally.refuse(Refused::Handshake),
        Err(_) => exporter.shared.tally.refuse(Refused::Slow),
    }
}

/// One request, one answer.
async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, exporter: &Exporter) {
    let tally = &exporter.shared.tally;
    let answer = service_fn(|request| async { Ok::<_, Infallible>(exporter.admit(request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKING)
        .max_buf_size(REQUEST)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(WHOLE, served).await {
        Err(_) => tally.refuse(Refused::Slow),
        Ok(Err(error)) if error.is_timeout() => tally.refuse(Refused::Slow),
        Ok(Err(error)) if error.is_parse() => tally.refuse(Refused::Malformed),
        // Answered, or the client went away.
        Ok(_) => {}
    }
}
