use std::{net::SocketAddr, sync::Arc, thread};

use actix_session_redis::{ConsistentSessions, RedisSessionStore};
use actix_web::{App, HttpServer, rt::System, web::Data};
use futures_util::future::join;
use reqwest::{Client, Version, header};

use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    routes::{self, Desk},
};

/// An app that speaks HTTP/2 without TLS, in a thread of its own that ends with the process.
fn serve(store: RedisSessionStore, setup: Setup, desk: Arc<Desk>) -> SocketAddr {
    let (say, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let app = move || {
            App::new()
                .app_data(Data::from(Arc::clone(&desk)))
                .wrap(
                    ConsistentSessions::new(setup.sessions(store.clone()))
                        .previous_cookie_keys(setup.previous_keys.clone()),
                )
                .configure(routes::all)
        };
        let server = HttpServer::new(app).workers(1).bind_auto_h2c("127.0.0.1:0");
        let server = server.unwrap();
        say.send(server.addrs()[0]).unwrap();
        System::new().block_on(server.run()).unwrap();
    });
    address.recv().unwrap()
}

#[actix_web::test]
async fn requests_that_share_one_connection_lose_nothing_when_they_overlap() {
    let redis = TestRedis::start().await;
    let desk = Arc::<Desk>::default();
    let store = redis.store_with(|options| options.counter("n"));
    let address = serve(store, Setup::consistent(), Arc::clone(&desk));
    let client = Client::builder().http2_prior_knowledge().no_proxy();
    let client = client.build().unwrap();
    let get = async |path: &str, cookie: &str| {
        let request = client.get(format!("http://{address}{path}"));
        let request = request.header(header::COOKIE, cookie);
        let response = request.send().await.unwrap().error_for_status().unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        response
    };

    let first = get("/count", "").await;
    let set_cookie = first.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = set_cookie.split(';').next().unwrap();
    let meanwhile = async {
        desk.arrived.acquire().await.unwrap().forget();
        get("/count", cookie).await;
        get("/set/name/Ada", cookie).await;
        desk.let_go.add_permits(1);
    };
    join(get("/count?at-the-desk", cookie), meanwhile).await;

    let read = get("/read", cookie).await.text().await.unwrap();
    assert_eq!(read, "n=3 name=\"Ada\"");
    let before = redis.connections_made();
    get("/read", cookie).await;
    assert_eq!(redis.connections_made(), before);
}

/// Clients may send each cookie in a header of its own.
#[actix_web::test]
async fn a_cookie_of_a_previous_key_is_found_among_several_cookie_headers() {
    let redis = TestRedis::start().await;
    let old = Setup::consistent();
    let app = TestApp::with(redis.store(), &old);
    let browser = app.browser();
    browser.get("/count").await.text();
    let setup = Setup {
        previous_keys: vec![old.key.into()],
        ..Setup::consistent()
    };
    let address = serve(redis.store(), setup, Arc::default());
    let client = Client::builder().http2_prior_knowledge().no_proxy();
    let request = client.build().unwrap();
    let mut request = request.get(format!("http://{address}/count"));
    for cookie in ["theme=dark", &browser.cookie(), "id=another"] {
        request = request.header(header::COOKIE, cookie);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert!(response.headers().contains_key(header::SET_COOKIE));
    assert_eq!(response.text().await.unwrap(), "n=2");
}
