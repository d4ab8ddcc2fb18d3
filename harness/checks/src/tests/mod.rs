//! A boundary pair for each check: what just passes and what just fails; and streams of a correct IUT in bad luck.

mod block;
mod exchange;
mod firmware;
mod format;
mod image;
mod innocent;
mod observe;
mod report;
mod server;
mod timing;
