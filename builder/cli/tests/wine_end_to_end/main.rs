//! The Windows program end to end: `orlop.exe` under Wine against a real registry, and then the Linux program
//! on what it pushed. Runs on Linux, because that is where a registry and the other program are; what
//! `cargo test` runs inside Windows is beside it in every package.
//!
//! Wine confines less than Windows does. Each build here says so itself: [`wine::ISOLATION`] is the list of what
//! it is run without, and without that list it is refused, which is tested as well.
//!
//! | file | what belongs there |
//! |---|---|
//! | `wine.rs` | the program built for Windows, a Wine prefix of its own, its processes |
//! | `road.rs` | pull, a Dockerfile of many steps, push, everything cached, and the same image on Linux |
//! | `ends.rs` | steps that fail, hang or leave processes; the program killed in the middle |
//! | `language.rs` | what is written in a Dockerfile, on its way to programs, and what is said of it |
//! | `attacks.rs` | the attacking programs of `fixtures/` as steps |
//! | `messages.rs` | what is refused and with which hint, `orlop info` and its self-test |

#![cfg(target_os = "linux")]

mod attacks;
mod ends;
mod language;
mod messages;
mod road;
mod wine;

pub(crate) use wine::{Wine, wine};
