//! A browser, as far as the page needs one.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE},
    redirect::Policy,
};

use crate::support::operator::Operator;

/// A browser. It keeps cookies, and does not follow redirects.
pub struct Browser<'a> {
    pub operator: &'a Operator,
    pub client: Client,
    pub cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    pub fn new(operator: &'a Operator) -> Self {
        Self::with(operator, HeaderMap::new())
    }

    /// A browser that sends these credentials.
    pub fn of(operator: &'a Operator, user: &str, password: &str) -> Self {
        let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let headers = [(AUTHORIZATION, format!("Basic {pair}").parse().unwrap())];
        Self::with(operator, headers.into_iter().collect())
    }

    fn with(operator: &'a Operator, headers: HeaderMap) -> Self {
        let client = Client::builder().redirect(Policy::none()).default_headers(headers).build().unwrap();
        Self { operator, client, cookies: Vec::new() }
    }

    pub async fn send(&mut self, request: RequestBuilder) -> Response {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header(COOKIE, cookies.join("; ")).send().await.unwrap();
        for set in response.headers().get_all(SET_COOKIE) {
            let set = set.to_str().unwrap();
            assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        response
    }

    /// Returns a page, and asserts that it is a successful HTML answer.
    pub async fn page(&mut self, path: &str) -> String {
        let response = self.send(self.client.get(self.operator.url(path))).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        response.text().await.unwrap()
    }

    /// The path of the conversation with the customer of the latest event.
    pub async fn conversation(&mut self) -> String {
        let page = self.page("/conversations").await;
        let (_, rest) = page.split_once("href=\"/conversations/").expect("a customer");
        format!("/conversations/{}", rest.split('"').next().unwrap())
    }

    /// A form that is on a page, with its token, as a browser sends it.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let origin = format!("http://{}", self.operator.address);
        self.client.post(self.operator.url(path)).header(ORIGIN, origin).fields(fields)
    }

    /// The answer to a form with the correct token.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let token = token(&self.page("/").await);
        let fields = [&[("token", token.as_str())], fields].concat();
        let form = self.form(path, &fields);
        self.send(form).await
    }

    /// Sends a form that redirects. Returns the path of the next page and its notice.
    pub async fn done(&mut self, path: &str, fields: &[(&str, &str)]) -> (String, String) {
        let response = self.post(path, fields).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}: {}", response.text().await.unwrap());
        let to = response.headers()[LOCATION].to_str().unwrap().to_owned();
        let page = self.page(&to).await;
        let (_, notice) = page.split_once("role=\"status\">").unwrap_or_else(|| panic!("no notice: {page}"));
        let notice = notice.split("</p>").next().unwrap().to_owned();
        assert!(!self.page(&to).await.contains("role=\"status\""), "it is said once");
        (to, notice)
    }

    /// Asserts that a form is rejected without this browser's token, or from another origin.
    pub async fn is_fenced(&mut self, path: &str) {
        let right = token(&self.page("/").await);
        let own = format!("http://{}", self.operator.address);
        for (token, origin) in
            [("", own.as_str()), ("AAAA", &own), (&right, "http://evil.example"), (&right, "null")]
        {
            let request = self.client.post(self.operator.url(path)).header(ORIGIN, origin);
            let response = self.send(request.fields(&[("token", token)])).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {token} {origin}");
        }
    }

    pub async fn reveal(&mut self) {
        self.wish("show").await;
    }

    pub async fn hide(&mut self) {
        self.wish("hide").await;
    }

    async fn wish(&mut self, wish: &str) {
        let token = token(&self.page("/").await);
        let form = self.form("/reveal", &[("token", &token), ("back", "/events"), ("wish", wish)]);
        let response = self.send(form).await;
        assert_eq!(
            (response.status(), &response.headers()[LOCATION]),
            (StatusCode::SEE_OTHER, &"/events".parse().unwrap())
        );
    }
}

/// A request with the fields of a form, as browsers write them.
pub trait WithFields {
    fn fields(self, fields: &[(&str, &str)]) -> Self;
}

impl WithFields for RequestBuilder {
    fn fields(self, fields: &[(&str, &str)]) -> Self {
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", url_encoded(value)));
        self.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(pairs.collect::<Vec<_>>().join("&"))
    }
}

pub fn token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"token\" value=\"").expect("a token");
    rest.split('"').next().unwrap().to_owned()
}

/// The fields of a page's form for this path, without the token.
pub fn fields_of(page: &str, action: &str) -> Vec<(String, String)> {
    let form = page.split("<form").find(|form| form.contains(&format!("action=\"{action}\"")));
    let form =
        form.unwrap_or_else(|| panic!("no form for {action}: {page}")).split("</form>").next().unwrap();
    let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
    let pair = |input: &str| {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        let value = rest.split('"').next().unwrap();
        let plain = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
        (name.to_owned(), plain.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
    };
    inputs.map(pair).filter(|(name, _)| name != "token").collect()
}

pub fn url_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
