//! The local names of a node: one holder each, gone with the process.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use crate::{
    error::NameError,
    process::{Process, ProcessCore},
};

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 255;

#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, Arc<dyn Process>>>);

/// Checks a name of a process, local or global.
///
/// # Errors
/// [`NameError::Invalid`] with the rule that it breaks.
#[doc(hidden)]
pub fn check_process_name(name: &str) -> Result<(), NameError> {
    let reason = if name.is_empty() {
        "it must not be empty"
    } else if name.len() > MAX_NAME {
        "it must have at most 255 bytes"
    } else if name.chars().any(char::is_control) {
        "it must not contain control characters"
    } else {
        return Ok(());
    };
    Err(NameError::Invalid { name: name.chars().take(MAX_NAME).collect(), reason })
}

impl Names {
    pub(crate) fn register(&self, name: &str, process: &Arc<dyn Process>) -> Result<(), NameError> {
        check_process_name(name)?;
        let core = process.core();
        let mut names = self.0.lock();
        if let Some(holder) = names.get(name) {
            let holder = &holder.core().pid;
            return if *holder == core.pid {
                Ok(())
            } else {
                Err(NameError::Taken { name: name.to_owned(), holder: holder.clone() })
            };
        }
        if !core.is_alive() {
            return Err(NameError::NoProc(core.pid.clone()));
        }
        names.insert(name.to_owned(), Arc::clone(process));
        core.add_name(name);
        Ok(())
    }

    pub(crate) fn unregister(&self, name: &str) -> bool {
        // Both under the lock: whoever takes the name again meanwhile is not robbed of it.
        let mut names = self.0.lock();
        let removed = names.remove(name);
        if let Some(process) = &removed {
            process.core().remove_name(name);
        }
        drop(names);
        removed.is_some()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<dyn Process>> {
        self.0.lock().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// The process ended: its names are free.
    pub(crate) fn ended(&self, core: &ProcessCore) {
        // Under the lock: whoever registers after it sees that the process is gone.
        let mut names = self.0.lock();
        for name in core.names() {
            if names.get(&name).is_some_and(|holder| holder.core().pid == core.pid) {
                names.remove(&name);
            }
        }
    }
}
