//! What stands where.

use super::*;
