//! Why SIGTERM came: does the service manager stop the unit, or restart it?
//!
//! systemd sends the same signal for both; the job it has queued for the unit tells. Read through
//! `systemctl list-jobs`, within a second: a stream is never ended on a doubt.

use std::time::Duration;

use supervise::{CaptureLimits, Spec, capture};

const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(1),
    max_bytes: 64 * 1024,
};

/// What the service manager is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Stop the unit, or the machine.
    Stop,
    /// Start it again at once.
    Restart,
    /// There is no manager, or it does not say.
    Unknown,
}

/// The unit of this process, and whether a user's manager runs it.
#[derive(Debug, PartialEq, Eq)]
struct Unit {
    name: String,
    user: bool,
}

/// Asks the manager that runs this process.
pub(super) async fn intent() -> Intent {
    // Only services have one; anything else need not wait for a bus.
    if std::env::var_os("INVOCATION_ID").is_none() {
        return Intent::Unknown;
    }
    let Some(unit) = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| unit_of(&text))
    else {
        return Intent::Unknown;
    };
    match capture(list_jobs(&unit), LIMITS).await {
        Ok(listed) => intent_in(&String::from_utf8_lossy(&listed.stdout), &unit.name),
        Err(error) => {
            tracing::warn!(%error, unit = unit.name, "cannot ask systemd for the unit's job");
            Intent::Unknown
        }
    }
}

fn list_jobs(unit: &Unit) -> Spec {
    let mut spec = Spec::new("systemctl");
    if unit.user {
        spec = spec.arg("--user");
        for name in ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"] {
            if let Some(value) = std::env::var_os(name) {
                spec = spec.env(name, value);
            }
        }
    }
    spec.args(["list-jobs", "--no-legend", "--no-pager", "--plain"])
        .arg(&unit.name)
}

/// The innermost service in the lines of `/proc/self/cgroup`.
fn unit_of(cgroups: &str) -> Option<Unit> {
    let path = cgroups.lines().find_map(|line| {
        let (_, path) = line.split_once("::")?;
        Some(path)
    })?;
    let name = path.split('/').rfind(|part| part.ends_with(".service"))?;
    Some(Unit {
        name: name.to_owned(),
        user: path.contains("/user@"),
    })
}

/// Lines are `ID UNIT TYPE STATE`.
fn intent_in(jobs: &str, unit: &str) -> Intent {
    jobs.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            (words.next()? == unit).then(|| words.next())?
        })
        .map(|job| match job {
            "stop" => Intent::Stop,
            "restart" | "try-restart" | "start" => Intent::Restart,
            _ => Intent::Unknown,
        })
        .next()
        .unwrap_or(Intent::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_job_tells_a_stop_from_a_restart() {
        let unit = "stream-controller.service";
        let jobs = "1207 stream-controller.service stop    running\n\
                    1208 other.service             restart waiting\n";
        assert_eq!(intent_in(jobs, unit), Intent::Stop);
        let jobs = "88 stream-controller.service restart running\n";
        assert_eq!(intent_in(jobs, unit), Intent::Restart);
        assert_eq!(intent_in("", unit), Intent::Unknown);
        assert_eq!(intent_in("No jobs running.\n", unit), Intent::Unknown);
    }

    #[test]
    fn the_unit_is_found_in_the_unified_hierarchy() {
        let unit = unit_of("0::/system.slice/stream-controller.service\n").unwrap();
        assert_eq!(unit.name, "stream-controller.service");
        assert!(!unit.user);

        let below_user =
            "12:pids:/x\n0::/user.slice/user-1.slice/user@1.service/app.slice/s.service\n";
        assert_eq!(
            unit_of(below_user),
            Some(Unit {
                name: "s.service".into(),
                user: true
            })
        );
        assert_eq!(unit_of("0::/init.scope\n"), None);
    }
}
