//! The real program, asked over sockets.

mod content;
mod database;
mod harness;
mod routes;
mod waiting;
