//! How the world behaves in one run.

/// How events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollModel {
    /// epoll, edge-triggered. An event tells the whole readiness, as epoll does.
    Epoll,
    /// Edges that tell only what has changed, as kqueue does.
    Narrow,
    /// mio on Windows: an event disarms what it told of, and only "would block" arms again, both ways.
    Windows,
}

/// Whether pipes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splicing {
    Works,
    /// Works so many calls, then the system refuses it for good (seccomp, gVisor).
    RefusedAfter(u64),
    /// No pipe is to be had while this many are open.
    PipesAtMost(usize),
}

#[derive(Clone, Debug)]
pub struct Options {
    pub model: PollModel,
    pub splicing: Splicing,
    /// Pipes that the pools may hand out; 0 = copy.
    pub pipes_max: usize,
    pub pipe_slots: usize,
    pub page_bytes: usize,
    /// The gateway's send and receive queue, and the actor's.
    pub queues_max: [usize; 4],
    /// The longest piece that comes at once.
    pub piece_bytes: usize,
    pub uneven_pieces: bool,
    pub latency_us: u64,
    /// How long an acknowledgement is put off: Linux takes 40 ms where nothing else is to be sent.
    pub acknowledge_us: u64,
    pub descriptors_max: usize,
    /// Connections come by mail instead of a listener.
    pub by_mail: bool,
    pub events_per_poll: usize,
    pub short_once_in: u32,
    pub jostle_once_in: u32,
    /// The system lacks memory for a read, a write or a splice.
    pub scarce_once_in: u32,
    pub jump_once_in: u32,
    pub actor_loses_unread_once_in: u32,
    /// A poll also tells of a token that may be long gone.
    pub stray_once_in: u32,
    /// Edges come in any order.
    pub shuffled: bool,
}

impl Default for Options {
    /// A kind world.
    fn default() -> Options {
        Options {
            model: PollModel::Epoll,
            splicing: Splicing::Works,
            pipes_max: 64,
            pipe_slots: 16,
            page_bytes: 4096,
            queues_max: [1 << 16; 4],
            piece_bytes: 1460,
            uneven_pieces: false,
            latency_us: 0,
            acknowledge_us: 0,
            descriptors_max: 1 << 20,
            by_mail: false,
            events_per_poll: 1024,
            short_once_in: 0,
            jostle_once_in: 0,
            scarce_once_in: 0,
            jump_once_in: 0,
            actor_loses_unread_once_in: 0,
            stray_once_in: 0,
            shuffled: false,
        }
    }
}

impl Options {
    /// A kind world with this poll model. Windows has no pipes, and one thread accepts for all workers.
    pub fn of_model(model: PollModel) -> Options {
        let kind = Options::default();
        match model {
            PollModel::Windows => Options { model, by_mail: true, pipes_max: 0, ..kind },
            _ => Options { model, ..kind },
        }
    }
}
