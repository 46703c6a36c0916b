//! Forms that change something. They are accepted only from this site: `fences` checks the origin, and this module
//! checks the CSRF token.

use std::sync::Arc;

use axum::{
    extract::{Form, FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    csrf::Notice,
    error_page::{ErrorPage, PageResult},
    form_fields::FormFields,
    visit::{PageVisit, set_cookie},
};
use crate::admin::{AdminState, error::RequestError, params};

/// A submitted form with a valid token.
pub(super) struct Posted {
    /// The request that submitted the form.
    pub(super) visit: PageVisit,
    pub(super) fields: FormFields,
}

impl Posted {
    /// Redirects back to the page of the form, but only to a path of this origin.
    pub(super) fn back(&self) -> Response {
        Redirect::to(self.back_to()).into_response()
    }

    /// The path to return to: the field `back` if it is a local path, otherwise `/`.
    pub(super) fn back_to(&self) -> &str {
        self.fields.text("back").filter(|back| is_local(back)).unwrap_or("/")
    }

    /// Redirects to a page that shows the result as a notice: as a success if `done`, otherwise as a warning.
    pub(super) fn says(&self, path: &str, done: bool, text: String) -> PageResult {
        let mut response = Redirect::to(path).into_response();
        let PageVisit { shared, browser, .. } = &self.visit;
        set_cookie(&mut response, shared.csrf.notice(browser, &Notice { done, text }));
        Ok(response)
    }
}

impl FromRequest<Arc<AdminState>> for Posted {
    type Rejection = ErrorPage;

    async fn from_request(request: Request, shared: &Arc<AdminState>) -> Result<Self, ErrorPage> {
        let (mut parts, body) = request.into_parts();
        let Ok(visit) = PageVisit::from_request_parts(&mut parts, shared).await;
        let body = params::body_of(&parts.headers, body).await?;
        let request = Request::from_parts(parts, body.into());
        let fields: Form<Vec<(String, String)>> = Form::from_request(request, &())
            .await
            .map_err(|_rejected| RequestError::Body("the form fields cannot be decoded".to_owned()))?;
        let fields = FormFields::from(fields.0);
        if !shared.csrf.knows(&visit.browser, fields.value("token")) {
            return Err(ErrorPage::Token);
        }
        Ok(Self { visit, fields })
    }
}

/// Returns whether the path is on this origin. Browsers resolve `//evil.example` and `/\evil.example` to other origins.
fn is_local(path: &str) -> bool {
    path.starts_with('/') && !path[1..].starts_with(['/', '\\']) && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_a_path_of_this_origin_is_redirected_to() {
        for path in ["/", "/search?q=1", "/events/7"] {
            assert!(is_local(path), "{path}");
        }
        for path in ["//evil.example", "/\\evil.example", "https://evil.example", "events", "/\n/evil", ""] {
            assert!(!is_local(path), "{path}");
        }
    }
}
