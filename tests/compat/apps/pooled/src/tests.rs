use actix_web::{
    http::StatusCode,
    test::{TestRequest, call_service, init_service, read_body},
};

use super::*;

#[actix_web::test]
async fn whoever_logs_in_is_counted_until_the_logout() {
    let config = Config::from_url(env::var("REDIS_URL").unwrap());
    let pool = config.create_pool(Some(Runtime::Tokio1)).unwrap();
    let sessions = SessionMiddleware::new(sessions_in(&pool).await.unwrap(), Key::generate());
    let pool = web::Data::new(pool);
    let app = init_service(App::new().wrap(sessions).app_data(pool).configure(routes)).await;

    let request = TestRequest::post().uri("/login/ada").to_request();
    let response = call_service(&app, request).await;
    let cookie = response.response().cookies().next().unwrap().into_owned();

    let request = TestRequest::get().cookie(cookie.clone()).to_request();
    let page = read_body(call_service(&app, request).await).await;
    assert!(page.starts_with(b"ada 1 of "), "{page:?}");

    let request = TestRequest::post().uri("/logout").cookie(cookie.clone());
    call_service(&app, request.to_request()).await;
    let request = TestRequest::get().cookie(cookie).to_request();
    let response = call_service(&app, request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
