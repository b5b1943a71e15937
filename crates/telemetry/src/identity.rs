//! Who a process is: the same in every sample, so that a reader may come late.

use crate::field;
use crate::frame::Frame;

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// That of the server's parent.
    pub parent_pid: u32,
    /// Of the module.
    pub mod_wsgi_version: Vec<u8>,
    /// Of the running Python.
    pub python_version: Vec<u8>,
    /// `Apache/2.4.67`
    pub apache_version: Vec<u8>,
    /// `event`
    pub mpm_name: Vec<u8>,
    /// Of the machine; [`Identity::here`] asks.
    pub hostname: Vec<u8>,
    /// Empty in a server's own process.
    pub process_group: Vec<u8>,
    /// Python's switch interval in seconds; 0 if there is none.
    pub switch_interval: f64,
}

impl Identity {
    /// Of this process, with what the machine says filled in.
    pub fn here() -> Identity {
        let name = rustix::system::uname();
        Identity {
            pid: std::process::id(),
            hostname: name.nodename().to_bytes().to_vec(),
            ..Identity::default()
        }
    }

    /// Everything.
    pub(crate) fn write(&self, frame: &mut Frame) {
        frame.text(field::MOD_WSGI_VERSION, &self.mod_wsgi_version, 31);
        frame.text(field::PYTHON_VERSION, &self.python_version, 63);
        frame.text(field::APACHE_VERSION, &self.apache_version, 63);
        frame.text(field::MPM_NAME, &self.mpm_name, 31);
        self.write_place(frame);
        frame.u64(field::PROCESS_PARENT_PID, self.parent_pid.into());
    }

    /// Where it is, only.
    pub(crate) fn write_place(&self, frame: &mut Frame) {
        frame.text(field::HOSTNAME, &self.hostname, 127);
        frame.text(field::PROCESS_GROUP, &self.process_group, 63);
    }

    pub(crate) fn write_switch_interval(&self, frame: &mut Frame) {
        if self.switch_interval > 0.0 {
            frame.f64(field::SWITCH_INTERVAL, self.switch_interval);
        }
    }
}
