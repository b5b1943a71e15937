//! The beginning and the end of a process.

use crate::field;
use crate::frame::{Frame, Kind};
use crate::identity::Identity;

/// It is there.
pub(crate) fn started(identity: &Identity, stamp: f64) -> Frame {
    let mut frame = Frame::new(Kind::Started, identity.pid, stamp);
    identity.write(&mut frame);
    identity.write_switch_interval(&mut frame);
    frame
}

/// It is going to end.
pub(crate) fn stopping(identity: &Identity, stamp: f64, reason: &[u8], active: u64) -> Frame {
    let mut frame = Frame::new(Kind::Stopping, identity.pid, stamp);
    identity.write_place(&mut frame);
    frame.text(field::SHUTDOWN_REASON, reason, 63);
    frame.u64(field::ACTIVE_REQUESTS_AT_DECISION, active);
    frame
}

/// What is said last.
pub(crate) struct Last<'a> {
    pub(crate) reason: &'a [u8],
    /// In seconds.
    pub(crate) uptime: f64,
    /// Requests it has had.
    pub(crate) requests: u64,
    /// Requests it still has.
    pub(crate) active: u64,
}

/// It has ended.
pub(crate) fn stopped(identity: &Identity, stamp: f64, last: &Last<'_>) -> Frame {
    let mut frame = Frame::new(Kind::Stopped, identity.pid, stamp);
    identity.write_place(&mut frame);
    frame.text(field::SHUTDOWN_REASON, last.reason, 63);
    frame.f64(field::PROCESS_UPTIME, last.uptime);
    frame.u64(field::LIFETIME_REQUEST_COUNT, last.requests);
    frame.u64(field::ACTIVE_REQUESTS_AT_EXIT, last.active);
    frame.u64(field::GRACEFUL_DRAIN, (last.active == 0).into());
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decode::decode;

    /// What a reporter of the reference has sent, byte for byte.
    #[test]
    fn a_start_is_what_the_reference_sends() {
        let expected = "57534749 01 05 0000 5e0b0000 01000000 4d0fee262cc0da41\
            0100 04 0500 362e312e31 0200 04 0600 332e31332e30\
            0300 04 0d00 4170616368652f322e342e3731 0400 04 0500 6576656e74\
            0500 04 0200 766d 0700 01 5c0b000000000000 0d00 02 7b14ae47e17a743f";
        let expected: String = expected.split_whitespace().collect();
        let stamp = f64::from_le_bytes([0x4d, 0x0f, 0xee, 0x26, 0x2c, 0xc0, 0xda, 0x41]);
        let identity = Identity {
            pid: 0xb5e,
            parent_pid: 0xb5c,
            mod_wsgi_version: b"6.1.1".to_vec(),
            python_version: b"3.13.0".to_vec(),
            apache_version: b"Apache/2.4.71".to_vec(),
            mpm_name: b"event".to_vec(),
            hostname: b"vm".to_vec(),
            process_group: Vec::new(),
            switch_interval: 0.005,
        };
        let bytes = started(&identity, stamp).number(1);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(bytes.len(), 102);
    }

    #[test]
    fn ends() {
        let identity =
            Identity { process_group: vec![b'g'; 70], hostname: b"h".to_vec(), ..Identity::here() };
        let read = decode(&stopping(&identity, 1.0, b"maximum_requests", 3).number(1)).unwrap();
        assert_eq!(read.kind, 6);
        let ids: Vec<u16> = read.fields.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [5, 6, 130, 133]);
        assert_eq!(read.text(6), Some(&[b'g'; 63][..]));
        let mut last = Last { reason: b"", uptime: 2.5, requests: 9, active: 0 };
        let read = decode(&stopped(&identity, 1.0, &last).number(1)).unwrap();
        let ids: Vec<u16> = read.fields.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [5, 6, 131, 132, 134, 135]);
        assert_eq!(read.count(135), Some(1));
        last.active = 1;
        let read = decode(&stopped(&identity, 1.0, &last).number(1)).unwrap();
        assert_eq!((read.count(134), read.count(135)), (Some(1), Some(0)));
    }
}
