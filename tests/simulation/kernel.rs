//! The fake kernel: what the worker sees of the world.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice::net::kernel::{Kernel, Lookup, Mail, Ready};
use sluice::net::slots::Token;

use crate::handles::{Door, FakePipe, Socket};
use crate::link::Who;
use crate::names::Service;
use crate::options::{PollModel, Splicing};
use crate::pipe::Pipe;
use crate::world::{Act, Letter, World};

pub type Shared = Rc<RefCell<World>>;

#[derive(Clone)]
pub struct FakeKernel(pub Shared);

impl Kernel for FakeKernel {
    type Listener = Door;
    type Stream = Socket;
    type Pipe = FakePipe;

    fn now(&self) -> Instant {
        self.0.borrow().now()
    }

    fn clock(&self) -> Instant {
        self.0.borrow().clock()
    }

    fn wall(&self) -> SystemTime {
        self.0.borrow().wall()
    }

    fn poll(&mut self, sleep: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.0.borrow_mut().poll(sleep, ready);
        Ok(())
    }

    fn told_all(&self) -> bool {
        self.0.borrow().told_all
    }

    fn mail(&mut self, into: &mut Vec<Mail<Socket>>) {
        let letters: Vec<Letter> = {
            let mut world = self.0.borrow_mut();
            let seen = world.letters_seen.min(world.letters.len());
            world.letters_seen = 0;
            world.letters.drain(..seen).collect()
        };
        for letter in letters {
            let world = &mut *self.0.borrow_mut();
            let now_us = world.now_us;
            world.trace.note(now_us, || format!("mail {letter:?}"));
            match letter {
                Letter::Accepted(link) => {
                    world.descriptors += 1;
                    let socket = Socket::new(&self.0, link);
                    into.push(Mail::Accepted(socket, world.links[link].address));
                }
                Letter::Resolved(token, answer) => into.push(Mail::Resolved(token, answer)),
                Letter::Orders => {
                    world.orders_are_read();
                    into.push(Mail::Orders);
                }
                Letter::Stop => {
                    world.gateway_is_stopped();
                    into.push(Mail::Stop);
                }
            }
        }
    }

    fn accept(&mut self, _: &mut Door) -> io::Result<(Socket, SocketAddr)> {
        let world = &mut *self.0.borrow_mut();
        world.jostle();
        let Some(&link) = world.backlog.front() else { return Err(ErrorKind::WouldBlock.into()) };
        let taken = world.take_descriptor(1);
        let now_us = world.now_us;
        world.trace.note(now_us, || format!("  accept link {link} -> {taken:?}"));
        world.lacked_descriptor = taken.is_err();
        taken?;
        world.changes += 1;
        world.backlog.pop_front();
        Ok((Socket::new(&self.0, link), world.links[link].address))
    }

    fn dial(&mut self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<Socket> {
        let world = &mut *self.0.borrow_mut();
        world.jostle();
        world.changes += 1;
        let link = world.dial(to, from);
        let now_us = world.now_us;
        world.trace.note(now_us, || format!("  dial {to} -> link {link:?}"));
        Ok(Socket::new(&self.0, link?))
    }

    fn register(&mut self, stream: &mut Socket, token: Token) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        world.tokens_given.push(token);
        world.gateway_registered(stream.link, token);
        let end = world.links[stream.link].end(Who::Gateway);
        end.watch.token = Some(token);
        end.watch.read_armed = true;
        end.watch.write_armed = true;
        end.watch.readable |= end.is_readable();
        end.watch.writable |= end.is_writable();
        let now_us = world.now_us;
        let link = stream.link;
        world.trace.note(now_us, || {
            format!("  register link {link} as {}/{}", token.slot(), token.lane())
        });
        Ok(())
    }

    fn is_connected(&mut self, stream: &Socket) -> io::Result<bool> {
        let end = &mut self.0.borrow_mut().links;
        let end = end[stream.link].end(Who::Gateway);
        match end.take_error() {
            Some(error) => Err(error),
            None => Ok(end.is_connected()),
        }
    }

    fn read(&mut self, stream: &mut Socket, into: &mut [u8]) -> io::Result<usize> {
        self.may_panic(stream.link);
        self.0.borrow_mut().may_halt(stream.link);
        self.operate("read", stream.link, |world, link| {
            if into.is_empty() {
                world.accuse(|| "a read of nothing, which looks like an end".to_owned());
            }
            // Under epoll a short read is a promise, so it must not be made by chance.
            let most = match world.options.model {
                PollModel::Windows => world.most(into.len()),
                PollModel::Epoll | PollModel::Narrow => into.len(),
            };
            let outcome = world.links[link].end(Who::Gateway).read(into, most);
            world.plan_transit(link, Who::Actor);
            world.gateway_read(link);
            outcome
        })
    }

    fn listen(
        &mut self,
        _bound: std::net::TcpListener,
        _index: usize,
    ) -> io::Result<Self::Listener> {
        Err(ErrorKind::Unsupported.into())
    }

    fn set_keepalive(&mut self, idle: Option<Duration>) {
        self.0.borrow_mut().gateway_goes_by(idle);
    }

    fn short_read_is_dry(&self) -> bool {
        self.0.borrow().options.model != PollModel::Windows
    }

    fn is_paced(&self, stream: &Socket) -> bool {
        stream.link.is_multiple_of(2)
    }

    fn write(&mut self, stream: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
        self.operate("write", stream.link, |world, link| {
            let most = world.most(bytes.len());
            let outcome = world.links[link].end(Who::Gateway).write(bytes, most);
            if let Ok(written) = &outcome {
                world.gateway_wrote(link, bytes, *written);
            }
            outcome
        })
    }

    fn shut_write(&mut self, stream: &mut Socket) -> io::Result<()> {
        let shut = self.operate("shut", stream.link, |world, link| {
            let end = world.links[link].end(Who::Gateway);
            if !end.is_connected() {
                return Err(ErrorKind::NotConnected.into());
            }
            end.shut = true;
            world.gateway_shut(link);
            // Shutting wakes whoever polls the socket, its owner as well.
            world.tell(link, Who::Gateway, true, true, false);
            world.plan_transit(link, Who::Gateway);
            Ok(0)
        });
        shut.map(|_| ())
    }

    fn take_error(&mut self, stream: &Socket) -> Option<io::Error> {
        let world = &mut *self.0.borrow_mut();
        let error = world.links[stream.link].end(Who::Gateway).take_error();
        let (now_us, link) = (world.now_us, stream.link);
        world.trace.note(now_us, || format!("  take_error link {link} -> {error:?}"));
        error
    }

    fn unsent_bytes(&mut self, stream: &Socket) -> usize {
        let world = self.0.borrow();
        let end = world.links[stream.link].look(Who::Gateway);
        match world.options.model {
            PollModel::Windows => 0,
            _ => end.unsent_bytes(),
        }
    }

    fn close(&mut self, stream: Socket) {
        drop(stream);
    }

    fn reset(&mut self, stream: Socket) {
        let mut world = self.0.borrow_mut();
        world.gateway_resets(stream.link);
        drop(world);
    }

    fn open_pipe(&mut self, _large: bool) -> io::Result<FakePipe> {
        let world = &mut *self.0.borrow_mut();
        if world.options.model == PollModel::Windows {
            return Err(ErrorKind::Unsupported.into());
        }
        let open = world.pipes.iter().flatten().count();
        if let Splicing::PipesAtMost(most) = world.options.splicing
            && open >= most
        {
            return Err(io::Error::from_raw_os_error(crate::world::libc_emfile()));
        }
        world.judge_pipes(open);
        world.take_descriptor(2)?;
        world.pipes.push(Some(Pipe::new(world.options.pipe_slots, world.options.page_bytes)));
        Ok(FakePipe::new(&self.0, world.pipes.len() - 1))
    }

    fn fill_pipe(
        &mut self,
        pipe: &mut FakePipe,
        source: &mut Socket,
        len_bytes: usize,
    ) -> io::Result<usize> {
        self.operate("fill", source.link, |world, link| {
            world.judge_splice(len_bytes)?;
            let most = world.most(len_bytes);
            let end = world.links[link].end(Who::Gateway);
            let Some(pipe) = &mut world.pipes[pipe.index] else { return Ok(0) };
            if pipe.is_full() {
                return Err(ErrorKind::WouldBlock.into());
            }
            if end.incoming_bytes == 0 {
                return end.end_of_reading();
            }
            let moved = pipe.take_in(&mut end.incoming, most);
            end.incoming_bytes -= moved;
            end.read_bytes += moved as u64;
            world.plan_transit(link, Who::Actor);
            Ok(moved)
        })
    }

    fn pour_pipe(
        &mut self,
        pipe: &mut FakePipe,
        sink: &mut Socket,
        len_bytes: usize,
    ) -> io::Result<usize> {
        self.operate("pour", sink.link, |world, link| {
            world.judge_splice(len_bytes)?;
            let most = world.most(len_bytes);
            let end = world.links[link].end(Who::Gateway);
            end.judge_writing()?;
            let Some(pipe) = &mut world.pipes[pipe.index] else { return Ok(0) };
            let room = end.room();
            let mut moved_bytes = Vec::new();
            if room > 0 {
                pipe.give_out(most.min(room), |bytes| moved_bytes.extend_from_slice(bytes));
            }
            if moved_bytes.is_empty() {
                end.watch.starved |= room == 0;
                return Err(ErrorKind::WouldBlock.into());
            }
            let written = end.write(&moved_bytes, usize::MAX)?;
            world.gateway_wrote(link, &moved_bytes, written);
            Ok(written)
        })
    }

    fn read_pipe(&mut self, pipe: &mut FakePipe, into: &mut [u8]) -> io::Result<usize> {
        let world = &mut *self.0.borrow_mut();
        let most = world.most(into.len());
        let Some(pipe) = &mut world.pipes[pipe.index] else { return Ok(0) };
        let mut at = 0;
        let read = pipe.give_out(most, |bytes| {
            into[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        });
        if read == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(read) }
    }

    fn look_up(&mut self, name: &str, token: Token) -> Lookup {
        let world = &mut *self.0.borrow_mut();
        world.changes += 1;
        world.gateway_asked(name, token);
        let Some(known) = world.names.get_mut(name) else { return Lookup::Busy };
        match known.service {
            Service::Known => return Lookup::Known(known.answer.clone()),
            Service::Busy => return Lookup::Busy,
            Service::Dead => known.waiting.push(token),
            Service::After(after_us) => {
                known.waiting.push(token);
                world.plan(after_us, Act::Answer(name.to_owned()));
            }
        }
        Lookup::Pending
    }

    fn recall(&mut self, name: &str) -> Option<Arc<[IpAddr]>> {
        self.0.borrow().names.get(name)?.stale.clone()
    }

    fn forget(&mut self, name: &str, token: Token) {
        if let Some(known) = self.0.borrow_mut().names.get_mut(name) {
            known.waiting.retain(|waiting| *waiting != token);
            known.gone.push(token);
        }
    }

    fn is_own_address(&mut self, address: IpAddr) -> bool {
        address.is_loopback()
    }
}
