//! The connections of one thread, and the loop that serves them.
//!
//! Readiness is told once a change (edge-triggered), and one read takes all that came. What a connection has to write is
//! gathered while what it got is handled, and written at once; only what its socket does not take is kept. So an idle
//! connection holds no memory but its place here.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::scan::{Got, scan};

/// What one read takes at most.
const READ: usize = 512 * 1024;
/// Connections served in one turn at most.
const EVENTS: usize = 1024;
/// The timer's number among the connections.
const TIMER: u64 = u64::MAX;

/// What is done with what comes.
pub trait Play {
    /// One entry came on this line, at this moment. What is added to `out` is written when all that came at once is
    /// handled.
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>);

    /// This line is over; nothing more comes on it. Not called for one that was closed from here.
    fn ended(&mut self, line: usize, why: &io::Error);
}

/// Connections by number, from 0 in the order in which they were opened.
#[derive(Debug)]
pub struct Engine {
    epoll: Epoll,
    timer: TimerFd,
    lines: Vec<Line>,
    events: Vec<EpollEvent>,
    input: Box<[u8]>,
    output: Vec<u8>,
    began: Instant,
}

#[derive(Debug)]
struct Line {
    socket: Option<TcpStream>,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// What the socket has not taken yet.
    unwritten: Vec<u8>,
}

impl Engine {
    /// Without connections; its clock begins now.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC.union(TimerFlags::TFD_NONBLOCK))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER))?;
        Ok(Self {
            epoll,
            timer,
            lines: Vec::new(),
            events: vec![EpollEvent::empty(); EVENTS],
            input: vec![0; READ].into(),
            output: Vec::new(),
            began: Instant::now(),
        })
    }

    /// Microseconds since it was made.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How many lines were ever opened: the number of the next one.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Begins to connect, from this address where given, and to write `first`; its number. That it fails shows as its
    /// end.
    ///
    /// # Errors
    /// What the operating system says, for instance that it has no more files or ports.
    pub fn open(&mut self, to: SocketAddr, from: Option<IpAddr>, first: Vec<u8>) -> io::Result<usize> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let (socket, number) = (TcpStream::from(socket), self.lines.len());
        let interest =
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        // The first readiness to write comes when it is connected.
        self.epoll.add(&socket, EpollEvent::new(interest, number as u64))?;
        self.lines.push(Line { socket: Some(socket), partial: Vec::new(), unwritten: first });
        Ok(number)
    }

    /// Ends a line from here.
    pub fn close(&mut self, line: usize) {
        if let Some(line) = self.lines.get_mut(line) {
            *line = Line { socket: None, partial: Vec::new(), unwritten: Vec::new() };
        }
    }

    /// Writes to a line, of its own accord. On one that is over it does nothing: its end was told, or will be.
    pub fn send(&mut self, line: usize, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(line < self.lines.len(), "line {line} was never opened");
        self.output.clear();
        write(&mut self.output);
        if let Some(line) = self.lines.get_mut(line) {
            // An error shows when it is read.
            line.write(&self.output).ok();
        }
    }

    /// Waits for something to come, until that moment at most, and handles all that came.
    ///
    /// # Errors
    /// What the operating system says of waiting.
    pub fn turn(&mut self, play: &mut impl Play, until: u64) -> io::Result<()> {
        let left = until.saturating_sub(self.now());
        let timeout: u8 = if left == 0 {
            0
        } else {
            // Milliseconds, as waiting itself counts, would be too coarse for a schedule.
            let after = Expiration::OneShot(TimeSpec::from_duration(Duration::from_micros(left)));
            self.timer.set(after, TimerSetTimeFlags::empty())?;
            u8::MAX
        };
        let came = match self.epoll.wait(&mut self.events, timeout) {
            Ok(came) => came,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for at in 0..came {
            let event = self.events[at];
            if event.data() != TIMER {
                self.serve(event.data() as usize, event.events(), play);
            }
        }
        Ok(())
    }

    fn serve(&mut self, number: usize, ready: EpollFlags, play: &mut impl Play) {
        if let Err(why) = self.exchange(number, ready, play) {
            self.close(number);
            play.ended(number, &why);
        }
    }

    fn exchange(&mut self, number: usize, ready: EpollFlags, play: &mut impl Play) -> io::Result<()> {
        if ready.contains(EpollFlags::EPOLLOUT) {
            self.lines[number].flush()?;
        }
        if !ready.intersects(
            EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR,
        ) {
            return Ok(());
        }
        // Less than was asked for is all there was; only an end would come behind it.
        let to_its_end = ready.intersects(!(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT));
        loop {
            let Some(count) = self.lines[number].read(&mut self.input)? else { return Ok(()) };
            let at = self.now();
            self.output.clear();
            let line = &mut self.lines[number];
            line.take(&self.input[..count], |got| play.got(number, got, at, &mut self.output))?;
            line.write(&self.output)?;
            if count < self.input.len() && !to_its_end {
                return Ok(());
            }
        }
    }
}

impl Line {
    /// What there is; `None`: nothing for now, or the line was closed from here.
    fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        loop {
            return match socket.read(into) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Hands out the entries of all whole frames.
    fn take(&mut self, bytes: &[u8], each: impl FnMut(Got<'_>)) -> io::Result<()> {
        if self.partial.is_empty() {
            let used = scan(bytes, each)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let used = scan(&self.partial, each)?;
        self.partial.drain(..used);
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.unwritten.is_empty() {
            self.unwritten.extend_from_slice(bytes);
            return Ok(());
        }
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let taken = write(socket, bytes)?;
        self.unwritten.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (Some(socket), false) = (&mut self.socket, self.unwritten.is_empty()) else { return Ok(()) };
        let taken = write(socket, &self.unwritten)?;
        self.unwritten.drain(..taken);
        if self.unwritten.is_empty() {
            self.unwritten = Vec::new();
        }
        Ok(())
    }
}

/// As much as the socket takes.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match socket.write(&bytes[taken..]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
