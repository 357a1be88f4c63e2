//! The service, and the verbs that register and control it.

use std::error::Error;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use windows_service::service::{
    ServiceAccess, ServiceControl, ServiceControlAccept, ServiceErrorControl, ServiceExitCode, ServiceInfo,
    ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};

use crate::relay::Relays;

const NAME: &str = "iphlpsvc";
const LOG: &str = r"C:\iphlpsvc.log";
/// While this file is there, the service does not come back from a control.
const HOLD: &str = r"C:\iphlpsvc.hold";

type Done = Result<(), Box<dyn Error>>;

define_windows_service!(service_entry, service_main);

/// A verb, or the service itself when the service control manager has started the program.
pub(crate) fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        None => service_dispatcher::start(NAME, service_entry).map_err(Into::into),
        Some("install") => install(),
        Some("start") => start(),
        Some("stop") => stop(),
        Some(other) => Err(format!("no verb of ours: {other}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("{error:?}"));
            ExitCode::FAILURE
        }
    }
}

fn install() -> Done {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: "IP Helper (stand-in)".into(),
        service_type: ServiceType::OWN_PROCESS,
        // As the real one: it is there again after a start of Windows.
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: std::env::current_exe()?,
        launch_arguments: vec![],
        dependencies: vec![],
        account_name: None,
        account_password: None,
    };
    let manager = ServiceManager::local_computer(None::<&str>, access)?;
    manager.create_service(&info, ServiceAccess::QUERY_STATUS)?;
    start()
}

fn start() -> Done {
    let service = open(ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
    service.start::<&str>(&[])?;
    until(&service, ServiceState::Running)
}

fn stop() -> Done {
    let service = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
    service.stop()?;
    until(&service, ServiceState::Stopped)
}

fn open(access: ServiceAccess) -> Result<windows_service::service::Service, Box<dyn Error>> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)?;
    Ok(manager.open_service(NAME, access)?)
}

fn until(service: &windows_service::service::Service, state: ServiceState) -> Done {
    let deadline = Instant::now() + Duration::from_secs(20);
    while service.query_status()?.current_state != state {
        if Instant::now() > deadline {
            return Err("the service does not get there".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn service_main(_arguments: Vec<OsString>) {
    if let Err(error) = serve() {
        log(&format!("{error:?}"));
    }
}

fn serve() -> Done {
    let (sender, controls) = mpsc::channel();
    let handler = move |control| {
        if matches!(control, ServiceControl::ParamChange | ServiceControl::Stop) {
            while std::path::Path::new(HOLD).exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
            // The receiver lives as long as the service.
            let _ = sender.send(control);
        } else if control != ServiceControl::Interrogate {
            return ServiceControlHandlerResult::NotImplemented;
        }
        ServiceControlHandlerResult::NoError
    };
    let status = service_control_handler::register(NAME, handler)?;
    let report = |state, accepted| {
        status.set_service_status(ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: accepted,
            exit_code: ServiceExitCode::NO_ERROR,
            checkpoint: 0,
            wait_hint: Duration::ZERO,
            process_id: None,
        })
    };
    report(
        ServiceState::Running,
        ServiceControlAccept::STOP | ServiceControlAccept::PARAM_CHANGE,
    )?;
    let mut relays = Relays::default();
    relays.follow_the_registry();
    for control in controls {
        log(&format!("{control:?}"));
        if control == ServiceControl::Stop {
            break;
        }
        relays.follow_the_registry();
    }
    drop(relays);
    report(ServiceState::Stopped, ServiceControlAccept::empty())?;
    Ok(())
}

/// One line for each thing that happens: tests count the controls.
pub(crate) fn log(line: &str) {
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(LOG) {
        let _ = writeln!(file, "{line}");
    }
}
