//! `bikhook serve`.

use super::Error;
use crate::config::Config;

pub(super) fn run(_config: Config) -> Result<(), Error> {
    unimplemented!()
}
