use actix_web::test::{TestRequest, call_and_read_body, call_service, init_service};

use super::*;

#[actix_web::test]
async fn whoever_logs_in_is_counted_until_the_logout() {
    let sessions = SessionMiddleware::new(store().await.unwrap(), Key::generate());
    let app = App::new()
        .wrap(IdentityMiddleware::default())
        .wrap(sessions);
    let app = init_service(app.configure(routes)).await;

    let request = TestRequest::post().uri("/login/ada").to_request();
    let response = call_service(&app, request).await;
    let cookie = response.response().cookies().next().unwrap().into_owned();

    for page in ["ada 1", "ada 2"] {
        let request = TestRequest::get().cookie(cookie.clone()).to_request();
        assert_eq!(call_and_read_body(&app, request).await, page);
    }

    let request = TestRequest::post().uri("/logout").cookie(cookie.clone());
    call_service(&app, request.to_request()).await;
    let request = TestRequest::get().cookie(cookie).to_request();
    assert_eq!(call_and_read_body(&app, request).await, "nobody");
}
