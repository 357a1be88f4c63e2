//! The service: registered, started, stopped, removed. What it does is in the room `service`.

use std::cell::Cell;
use std::ffi::OsString;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use windows_service::Error as ServiceError;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType,
    ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_MARKED_FOR_DELETE,
};

use super::{Order, logon, program};
use crate::host::Process;
use crate::paths::Paths;
use crate::service::{LOG_FILE, NAME};

const DISPLAY_NAME: &str = "wslnet companion";
const DESCRIPTION: &str = "Makes what listens in WSL reachable from Windows and, where that is allowed, from the local network. \
                           Without it, nothing in WSL is reachable from the network.";
/// How long the service may take to start. It answers at once; the machine may be busy.
const START_TIME: Duration = Duration::from_secs(60);
/// How long it may take to stop: longer than it gives itself.
const STOP_TIME: Duration = Duration::from_secs(30);
/// How long its process may live after it has said that it has stopped.
const END_TIME: Duration = Duration::from_secs(5);
/// How long Windows may take to forget it, and the program to go.
const DELETE_TIME: Duration = Duration::from_secs(15);
/// How long Windows waits for it when it shuts down: longer than it gives itself.
const SHUTDOWN_TIME: Duration = Duration::from_secs(25);
/// How often to look.
const GLANCE: Duration = Duration::from_millis(50);

/// What to do after it has failed once, twice, and more often; and after which time without a failure it counts anew.
const RESTARTS: [Duration; 3] = [
    Duration::from_secs(3),
    Duration::from_secs(30),
    Duration::from_secs(10 * 60),
];
const RESET: Duration = Duration::from_secs(15 * 60);

pub(super) fn is_installed() -> bool {
    matches!(open(ServiceAccess::QUERY_STATUS), Ok(Some(_)))
}

/// The process of the service, if it runs.
pub(crate) fn process() -> Option<u32> {
    let service = open(ServiceAccess::QUERY_STATUS).ok().flatten()?;
    service
        .query_status()
        .ok()?
        .process_id
        .filter(|process| *process != 0)
}

pub(super) fn put(order: &mut Order) -> anyhow::Result<()> {
    let info = describe(&order.paths)?;
    let rights = ServiceAccess::QUERY_STATUS
        | ServiceAccess::QUERY_CONFIG
        | ServiceAccess::CHANGE_CONFIG
        | ServiceAccess::START
        | ServiceAccess::STOP;
    let (service, what) = match open(rights)? {
        Some(service) => {
            service
                .change_config(&info)
                .context("cannot change the service")?;
            (service, "changed")
        }
        None => {
            let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
            let manager = ServiceManager::local_computer(None::<&str>, access)
                .context("cannot open the service control manager")?;
            let service = manager.create_service(&info, rights).map_err(|error| {
                let is_marked = code(&error) == Some(ERROR_SERVICE_MARKED_FOR_DELETE);
                let error = anyhow::Error::new(error).context("cannot make the service");
                if is_marked {
                    error.context("the former service is still being removed: close the windows that show services, and try again")
                } else {
                    error
                }
            })?;
            (service, "made")
        }
    };
    configure(&service, order)?;
    // As late as possible: whatever fails before leaves a service that runs.
    stop(&service)?;
    start(&service, &order.paths)?;
    order.tell(format!("{what}: the service {NAME}, which runs"));
    order.tell(logon::answer(&order.paths)?);
    Ok(())
}

pub(super) fn take(order: &mut Order) -> anyhow::Result<()> {
    let rights = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::DELETE;
    let Some(service) = open(rights)? else {
        return Ok(());
    };
    stop(&service)?;
    service.delete().context("cannot remove the service")?;
    // It is there for as long as somebody has it open.
    drop(service);
    let deadline = Instant::now() + DELETE_TIME;
    while is_installed() {
        if Instant::now() > deadline {
            bail!(
                "Windows has not let go of the service {NAME}: close the windows that show services, or start Windows anew"
            );
        }
        sleep(GLANCE);
    }
    order.tell(format!("removed: the service {NAME}"));
    Ok(())
}

/// All places are named, since a service has no user's environment to find them by.
fn describe(paths: &Paths) -> anyhow::Result<ServiceInfo> {
    let mut arguments: Vec<OsString> = vec!["run-service".into()];
    for (flag, path) in [
        ("--config", &paths.config),
        ("--state-dir", &paths.state_dir),
        ("--run-dir", &paths.run_dir),
    ] {
        arguments.extend([flag.into(), path.into()]);
    }
    Ok(ServiceInfo {
        name: NAME.into(),
        display_name: DISPLAY_NAME.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program::path()?,
        launch_arguments: arguments,
        // None: it waits by itself for whatever is not there yet, and Windows starts it late anyway.
        dependencies: vec![],
        // LocalSystem: names, portproxy and firewall rules take that.
        account_name: None,
        account_password: None,
    })
}

/// What is well to have, and no reason to go without the service. (Wine has not all of it.)
fn configure(service: &Service, order: &mut Order) -> anyhow::Result<()> {
    let actions = RESTARTS.map(|delay| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay,
    });
    let actions = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(RESET),
        reboot_msg: None,
        command: None,
        actions: Some(actions.to_vec()),
    };
    service
        .update_failure_actions(actions)
        .context("cannot set what happens when the service fails")?;
    for (what, done) in [
        ("the description", service.set_description(DESCRIPTION)),
        // WSL starts after the logon, so nothing is lost.
        ("the delayed start", service.set_delayed_auto_start(true)),
        (
            "the restart after an error",
            service.set_failure_actions_on_non_crash_failures(true),
        ),
        (
            "the own identity",
            service.set_config_service_sid_info(ServiceSidType::Unrestricted),
        ),
        (
            "the time at shutdown",
            service.set_preshutdown_timeout(SHUTDOWN_TIME),
        ),
    ] {
        if let Err(error) = done {
            let error = wslnet_console::output::chain(&error);
            order.tell(format!(
                "note: Windows did not take {what} of the service: {error}"
            ));
        }
    }
    Ok(())
}

fn start(service: &Service, paths: &Paths) -> anyhow::Result<()> {
    match service.start::<&str>(&[]) {
        // Windows was about to start it again after a failure.
        Err(error) if code(&error) == Some(ERROR_SERVICE_ALREADY_RUNNING) => {}
        started => started.context("cannot start the service")?,
    }
    let log = paths.state_dir.join(LOG_FILE);
    let ended = wait(service, START_TIME, |status| match status.current_state {
        ServiceState::Running => Some(Ok(())),
        ServiceState::Stopped => Some(Err(status.exit_code)),
        ServiceState::StartPending
        | ServiceState::StopPending
        | ServiceState::ContinuePending
        | ServiceState::PausePending
        | ServiceState::Paused => None,
    })?;
    match ended {
        Some(Ok(())) => Ok(()),
        Some(Err(ServiceExitCode::Win32(code) | ServiceExitCode::ServiceSpecific(code))) => bail!(
            "the service has ended with code {code}: the event log of Windows and {} say why",
            log.display()
        ),
        None => bail!("the service does not start: {} may say why", log.display()),
    }
}

/// Stops it with a deadline, and ends its process when it does not heed.
fn stop(service: &Service) -> anyhow::Result<()> {
    let process = service
        .query_status()
        .context("cannot look at the service")?
        .process_id;
    let process = process.and_then(Process::open);
    let is_told = Cell::new(false);
    let is_stopped = |status: &ServiceStatus| match status.current_state {
        ServiceState::Stopped => Some(()),
        // One that is just starting takes no order until it runs.
        ServiceState::Running if !is_told.get() => {
            match service.stop() {
                Ok(_) => is_told.set(true),
                Err(error) => tracing::debug!(%error, "the service takes no order to stop"),
            }
            None
        }
        ServiceState::Running
        | ServiceState::StartPending
        | ServiceState::StopPending
        | ServiceState::ContinuePending
        | ServiceState::PausePending
        | ServiceState::Paused => None,
    };
    let stopped = wait(service, STOP_TIME, is_stopped)?.is_some();
    // The manager is told of the end some time before the process has ended and its program is free.
    let ended = process.is_none_or(|process| (stopped && process.ends_within(END_TIME)) || process.end());
    if !ended || (!stopped && wait(service, DELETE_TIME, is_stopped)?.is_none()) {
        bail!("the service does not stop");
    }
    Ok(())
}

/// Looks until something can be said, or the time is over.
fn wait<T>(
    service: &Service,
    time: Duration,
    say: impl Fn(&ServiceStatus) -> Option<T>,
) -> anyhow::Result<Option<T>> {
    let deadline = Instant::now() + time;
    loop {
        let status = service.query_status().context("cannot look at the service")?;
        let said = say(&status);
        if said.is_some() || Instant::now() > deadline {
            return Ok(said);
        }
        sleep(GLANCE);
    }
}

fn open(rights: ServiceAccess) -> anyhow::Result<Option<Service>> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
        .context("cannot open the service control manager")?;
    match manager.open_service(NAME, rights) {
        Ok(service) => Ok(Some(service)),
        Err(error) if code(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot open the service {NAME}")),
    }
}

fn code(error: &ServiceError) -> Option<u32> {
    if let ServiceError::Winapi(error) = error {
        io::Error::raw_os_error(error).map(i32::cast_unsigned)
    } else {
        None
    }
}
