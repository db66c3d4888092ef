//! What each path answers.

use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

use super::super::counters::Counters;
use super::super::gauges::Gauges;
use super::super::histograms::Measure;
use super::super::liveness::{Hanging, Liveness};
use super::super::metrics;
use super::super::report::{Form, report};
use super::super::status::{Inside, status};
use super::request::Request;

/// Every path and the one method it takes.
const ROUTES: [(&str, &str, Route); 7] = [
    ("/healthz", "GET", Route::Health),
    ("/readyz", "GET", Route::Readiness),
    ("/metrics", "GET", Route::Metrics),
    ("/status", "GET", Route::Status),
    ("/refused", "GET", Route::Refused),
    ("/report", "GET", Route::Report),
    ("/reload", "POST", Route::Reload),
];

#[derive(Clone, Copy)]
enum Route {
    Health,
    Readiness,
    Metrics,
    Status,
    Refused,
    Report,
    Reload,
}

/// What there is to show and to ask for.
#[derive(Clone)]
pub struct Panel {
    /// What is counted.
    pub counters: Arc<Counters>,
    /// How the gateway stands.
    pub gauges: Arc<Gauges>,
    /// What only the shell around the workers knows.
    pub inside: Arc<dyn Inside>,
    /// Who reads the configuration again; without one, `POST /reload` is answered by 503.
    pub reload: Option<Arc<dyn Reload>>,
}

/// Reads the configuration again.
pub trait Reload: Send + Sync {
    /// Does so and tells what came of it, in lines for people. It may take its time: it is called on
    /// a thread of its own, one call at a time.
    ///
    /// # Errors
    /// Why the configuration that was in force still is.
    fn reload(&self) -> Result<String, String>;
}

/// How a request is answered.
pub(super) enum Course {
    /// By this.
    Answer(Answer),
    /// By what this tells once it is done.
    Reload(Arc<dyn Reload>),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    content_type: &'static str,
    allow: Option<&'static str>,
    pub(super) body: String,
}

const PLAIN: &str = "text/plain; charset=utf-8";

impl Answer {
    /// Plain text.
    pub(super) fn plain(status: u16, body: impl Into<String>) -> Answer {
        Answer::of(status, PLAIN, body)
    }

    /// What came of a reload.
    pub(super) fn reloaded(outcome: Result<String, String>) -> Answer {
        let (status, mut text) = match outcome {
            Ok(text) => (200, text),
            Err(text) => (422, text),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Answer::plain(status, text)
    }

    /// The answer to a head that is none.
    pub(super) fn refusal(status: u16) -> Answer {
        Answer::plain(
            status,
            match status {
                431 => "The head of the request is too large\n",
                408 => "The head of the request did not arrive in time\n",
                _ => "This is no HTTP/1.1 request\n",
            },
        )
    }

    /// The bytes to send.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Answer { status, content_type, allow, body } = self;
        let (phrase, length) = (phrase(*status), body.len());
        let mut head = format!(
            "HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n"
        );
        if let Some(allow) = allow {
            // A String takes everything.
            let _ = write!(head, "Allow: {allow}\r\n");
        }
        head.push_str("\r\n");
        head.push_str(body);
        head.into_bytes()
    }

    fn json(told: &impl Serialize) -> Answer {
        // Texts and numbers have no way to fail.
        let mut json = serde_json::to_string(told).unwrap_or_default();
        json.push('\n');
        Answer::of(200, "application/json", json)
    }

    fn of(status: u16, content_type: &'static str, body: impl Into<String>) -> Answer {
        Answer { status, content_type, allow: None, body: body.into() }
    }
}

/// The answer to `request`.
pub(super) fn route(request: &Request, panel: &Panel, liveness: &mut Liveness) -> Course {
    let Some((_, method, route)) = ROUTES.iter().find(|(path, ..)| *path == request.path) else {
        let paths: Vec<&str> = ROUTES.iter().map(|(path, ..)| *path).collect();
        let text = format!("Nothing is here; there are {}\n", paths.join(", "));
        return Course::Answer(Answer::plain(404, text));
    };
    if request.method != *method {
        let mut answer = Answer::plain(405, format!("{} takes {method}\n", request.path));
        answer.allow = Some(method);
        return Course::Answer(answer);
    }
    Course::Answer(match route {
        Route::Health => Answer::plain(200, "ok\n"),
        Route::Readiness => readiness(panel, liveness),
        Route::Metrics => Answer::of(
            200,
            metrics::CONTENT_TYPE,
            metrics::text(&panel.counters, &panel.gauges, panel.inside.as_ref()),
        ),
        Route::Status => {
            Answer::json(&status(&panel.counters, &panel.gauges, panel.inside.as_ref()))
        }
        Route::Refused => Answer::json(
            &panel
                .counters
                .refused_targets()
                .told(panel.gauges.started(), panel.gauges.configuration().generation.allow_mode),
        ),
        Route::Report => reported(request, &panel.gauges),
        Route::Reload => match &panel.reload {
            // Any page that a browser on this machine shows could post here.
            _ if request.is_of_a_page => Answer::plain(403, "Not for web pages\n"),
            None => Answer::plain(503, "There is no reload here\n"),
            Some(reload) => return Course::Reload(Arc::clone(reload)),
        },
    })
}

fn readiness(panel: &Panel, liveness: &mut Liveness) -> Answer {
    let hanging = liveness.judge(panel.gauges.workers(), panel.inside.now());
    panel.inside.knock();
    if panel.gauges.is_draining() {
        return Answer::plain(503, "draining\n");
    }
    if hanging.is_empty() {
        return Answer::plain(200, "ready\n");
    }
    let mut told = String::new();
    for Hanging { worker, since } in hanging {
        let _ = match since {
            Some(since) => {
                writeln!(told, "worker {worker} has not turned for {} s", since.as_secs())
            }
            None => writeln!(told, "worker {worker} is over"),
        };
    }
    Answer::plain(503, told)
}

fn reported(request: &Request, gauges: &Gauges) -> Answer {
    let format = request.asked("format").unwrap_or("text");
    let Some((_, form)) = Form::ALL.into_iter().find(|(name, _)| *name == format) else {
        return Answer::plain(400, "format must be text, json or hgrm\n");
    };
    let only = match request.asked("of") {
        None => None,
        Some(name) => match Measure::ALL.into_iter().find(|measure| measure.as_str() == name) {
            Some(measure) => Some(measure),
            None => {
                let names = Measure::ALL.map(Measure::as_str).join(", ");
                return Answer::plain(400, format!("of must be one of {names}\n"));
            }
        },
    };
    Answer::of(200, form.content_type(), report(form, only, gauges))
}

const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::request::{Progress, read};
    use super::super::sample;
    use super::*;

    struct Desk {
        sample: sample::Sample,
        liveness: Liveness,
    }

    impl Desk {
        fn new() -> Desk {
            Desk { sample: sample::panel(Instant::now()), liveness: Liveness::new() }
        }

        fn ask(&mut self, request: &str) -> Answer {
            let head = format!("{request} HTTP/1.1\r\n\r\n");
            let Progress::Whole(request) = read(head.as_bytes()) else { panic!("{request}") };
            match route(&request, &self.sample.panel(), &mut self.liveness) {
                Course::Answer(answer) => answer,
                Course::Reload(reload) => Answer::reloaded(reload.reload()),
            }
        }
    }

    #[test]
    fn paths_and_methods_are_told_apart() {
        for (request, status, body) in [
            ("GET /healthz", 200, "ok\n"),
            ("GET /readyz", 200, "ready\n"),
            ("GET /readyz?verbose", 200, "ready\n"),
            ("GET /metrics", 200, "sluice_sessions_total 0\n"),
            ("GET /status", 200, "\"draining\":false"),
            ("GET /refused", 200, "{\"mode\":\"enforce\",\"since\":"),
            ("GET /report", 200, "setup "),
            ("GET /report?format=json", 200, "\"setup\":{"),
            ("GET /report?format=hgrm&of=dial", 200, "#[dial in ms]"),
            ("GET /report?format=xml", 400, "text, json or hgrm"),
            (
                "GET /report?of=lunch",
                400,
                "resolve, dial, setup, first_byte, session, upload, pour",
            ),
            ("GET /", 404, "/healthz, /readyz"),
            ("GET /metrics/", 404, "/metrics"),
            ("GET http://h/metrics", 404, "/metrics"),
            ("HEAD /healthz", 405, "takes GET"),
            ("POST /metrics", 405, "takes GET"),
            ("GET /reload", 405, "takes POST"),
            ("POST /reload", 503, "no reload here"),
        ] {
            let answer = Desk::new().ask(request);
            assert_eq!(answer.status, status, "{request}");
            assert!(answer.body.contains(body), "{request}: {}", answer.body);
            assert!(answer.body.ends_with('\n'), "{request}: {}", answer.body);
            assert_eq!(answer.allow.is_some(), status == 405, "{request}");
        }
    }

    #[test]
    fn readiness_ends_with_a_worker_that_hangs_and_with_draining() {
        let mut desk = Desk::new();
        assert_eq!(desk.ask("GET /readyz").status, 200);
        assert_eq!(desk.sample.inside.knocks(), 1);
        desk.sample.inside.pass(Duration::from_secs(6));
        desk.sample.gauges.workers()[0].turn_begins(desk.sample.inside.now());
        let answer = desk.ask("GET /readyz");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (503, "worker 1 has not turned for 6 s\n")
        );
        assert_eq!(desk.ask("GET /healthz").status, 200);
        desk.sample.gauges.workers()[1].turn_begins(desk.sample.inside.now());
        assert_eq!(desk.ask("GET /readyz").status, 200);
        desk.sample.gauges.workers()[0].is_over();
        assert_eq!(desk.ask("GET /readyz").body, "worker 0 is over\n");
        desk.sample.gauges.drain();
        let answer = desk.ask("GET /readyz");
        assert_eq!((answer.status, answer.body.as_str()), (503, "draining\n"));
    }

    #[test]
    fn a_reload_tells_what_came_of_it_and_is_not_for_pages() {
        let mut desk = Desk::new();
        desk.sample.reload = Some(Arc::new(sample::Told(Ok("generation 2".to_owned()))));
        let answer = desk.ask("POST /reload");
        assert_eq!((answer.status, answer.body.as_str()), (200, "generation 2\n"));
        assert_eq!(
            desk.ask("POST /reload HTTP/1.1\r\nOrigin: http://evil\r\nA: b\r\nb:").status,
            403
        );
        desk.sample.reload = Some(Arc::new(sample::Told(Err("f.toml:1:1: x".to_owned()))));
        let answer = desk.ask("POST /reload");
        assert_eq!((answer.status, answer.body.as_str()), (422, "f.toml:1:1: x\n"));
    }

    #[test]
    fn the_bytes_of_an_answer_are_framed() {
        let bytes = Desk::new().ask("POST /status").bytes();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for line in [
            "HTTP/1.1 405 Method Not Allowed".to_owned(),
            "Allow: GET".to_owned(),
            "Connection: close".to_owned(),
            format!("Content-Length: {}", body.len()),
        ] {
            assert!(head.lines().any(|told| told == line), "{line}: {head}");
        }
    }
}
