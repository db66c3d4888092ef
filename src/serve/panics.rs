//! What a panic said and where, kept for the event that tells of it.

use std::any::Any;
use std::cell::RefCell;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics leave their place behind for [`text`] instead of writing to stderr, where events go.
pub fn keep_quiet() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        PLACE.with(|kept| *kept.borrow_mut() = place);
    }));
}

/// What the last panic of this thread said, and where.
pub fn text(payload: &(dyn Any + Send)) -> String {
    let said = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words");
    match PLACE.with(|kept| kept.borrow_mut().take()) {
        Some(place) => format!("{said}, at {place}"),
        None => said.to_owned(),
    }
}
