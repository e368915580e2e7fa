//! A request on a session that belongs to an enrolment: 421, whatever it asks for (R-6.1-17).

use bytes::Bytes;
use capif_transport::{Body, empty};
use http::Request;
use http_body_util::{BodyExt, Channel};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::walk::{Ready, Walk};
use crate::support::{people::INVOKERS, raw, wire::Answer};

impl Walk<'_> {
    /// Asks beside an enrolment whose body has not come to its end.
    pub(super) async fn beside_an_enrolment(&self, ready: &Ready) -> Answer {
        let address = self.world.ccf().local_addr();
        let stream = raw::tls(address, &self.world.root_pem(), None, b"h2")
            .await
            .unwrap();
        let handshake = http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let (mut half, body) = Channel::<Bytes>::new(1);
        half.send_data(Bytes::from_static(b"{")).await.unwrap();
        let enrols = Request::post(format!("https://{address}{INVOKERS}"))
            .header("authorization", "Bearer forged")
            .header("content-type", "application/json")
            .body(body.map_err(Into::into).boxed())
            .unwrap();
        let _waiting = tokio::spawn(sender.send_request(enrols));
        // The enrolment goes out first, since the frames of one connection keep their order.
        let (parts, _) = ready.request(self.scene).into_parts();
        let mut request = Request::from_parts(parts, empty());
        let target = format!("https://{address}{}", request.uri());
        *request.uri_mut() = target.parse().unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        drop(half);
        connection.abort();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            session: None,
        }
    }
}
