//! The service as Windows sees it: <https://learn.microsoft.com/windows/win32/services/service-programs>.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use windows_service::service::{
    PowerEventParam, ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus,
    ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};
use wslnet_console::diagnose::ConfigFile;
use wslnet_console::log;

use super::progress::{BEAT, HINT, Progress, Told};
use crate::config::WatchedConfig;
use crate::event_log;
use crate::form::Form;
use crate::host::end_this_process;
use crate::install;
use crate::paths::Paths;
use crate::run::{self, BadConfig, Life};

/// The name by which Windows knows the service.
pub(crate) const NAME: &str = "wslnet-companion";
/// The file of the log, in the state folder: of the service, and of a program in the background.
pub(crate) const LOG_FILE: &str = "companion.log";

/// What `service_main` finds when Windows calls it, in a thread of its own and without a context.
static JOB: OnceLock<Job> = OnceLock::new();

struct Job {
    paths: Paths,
    listen: Option<SocketAddr>,
}

/// What happens to the service.
enum Event {
    /// The control endpoint answers.
    Ready,
    /// The manager asks for the end.
    Stop(&'static str),
    /// The program has ended.
    Ended(anyhow::Result<()>),
}

define_windows_service!(service_entry, service_main);

/// Serves the service control manager until the service has ended.
///
/// # Errors
/// When it was not the manager who started the program. How the service itself ends, the manager and the log are told.
pub(crate) fn run(paths: &Paths, listen: Option<SocketAddr>) -> anyhow::Result<()> {
    let job = Job {
        paths: paths.clone(),
        listen,
    };
    if JOB.set(job).is_err() {
        anyhow::bail!("the service was started twice in one process");
    }
    service_dispatcher::start(NAME, service_entry)
        .context("`run-service` is for the service control manager; by hand use `run`")
}

fn service_main(_: Vec<OsString>) {
    let Some(Job { paths, listen }) = JOB.get() else {
        return;
    };
    let (events, happened) = channel();
    let stop = CancellationToken::new();
    let resumed = Arc::new(Notify::new());
    let handler = handler(events.clone(), stop.clone(), resumed.clone());
    // Without a handle there is nobody to tell.
    let Ok(status) = service_control_handler::register(NAME, handler) else {
        return;
    };
    let mut progress = Progress::new();
    tell(&status, progress.told());
    let place = install::state_folder_is_ours(&paths.state_dir);
    let event_log = event_log::open(NAME);
    // The log lies in the folder, so a folder that is not ours gets none.
    let log_file = paths.state_dir.join(LOG_FILE);
    let log = place
        .and_then(|()| log::init_file("WSLNET_LOG", &log_file, Some(event_log.listener())).context("no log"));
    let ended = match &log {
        Ok(_) => {
            let life = Life {
                form: Form::Service,
                stop,
                resumed,
                on_ready: Some(Box::new({
                    let events = events.clone();
                    move || drop(events.send(Event::Ready))
                })),
            };
            let started = start(paths, *listen, life, events);
            started.and_then(|()| follow(&happened, &status, &mut progress))
        }
        Err(error) => {
            event_log.error(&format!("the service does not start: {error:#}"));
            Err(anyhow::anyhow!("{error:#}"))
        }
    };
    let code = exit_code(progress.code(code(&ended)));
    if let Err(error) = &ended {
        tracing::error!(error = format!("{error:#}"), "the service has ended");
    }
    drop(log);
    drop(event_log);
    tell_stopped(&status, code);
}

/// The manager's voice. It must return at once, and is called in a thread of Windows'.
fn handler(
    events: Sender<Event>,
    stop: CancellationToken,
    resumed: Arc<Notify>,
) -> impl FnMut(ServiceControl) -> ServiceControlHandlerResult {
    move |control| {
        let Some(reason) = reason_to_stop(control) else {
            return answer(control, &resumed);
        };
        // Nobody waits any more when the service has ended by itself. The order is known before anything ends by it.
        drop(events.send(Event::Stop(reason)));
        stop.cancel();
        ServiceControlHandlerResult::NoError
    }
}

fn reason_to_stop(control: ServiceControl) -> Option<&'static str> {
    let shutdown = matches!(control, ServiceControl::Preshutdown | ServiceControl::Shutdown);
    let stop = control == ServiceControl::Stop;
    stop.then_some("somebody stops the service")
        .or(shutdown.then_some("Windows shuts down"))
}

/// To what is no order to stop.
fn answer(control: ServiceControl, resumed: &Notify) -> ServiceControlHandlerResult {
    if let ServiceControl::PowerEvent(event) = control {
        if is_waking_up(event) {
            resumed.notify_one();
        }
        ServiceControlHandlerResult::NoError
    } else if control == ServiceControl::Interrogate {
        // The manager knows the state; it only wants an answer.
        ServiceControlHandlerResult::NoError
    } else {
        ServiceControlHandlerResult::NotImplemented
    }
}

/// `ResumeAutomatic` comes at every end of sleep; `ResumeSuspend` follows it when somebody sits there.
fn is_waking_up(event: PowerEventParam) -> bool {
    matches!(
        event,
        PowerEventParam::ResumeAutomatic | PowerEventParam::ResumeSuspend | PowerEventParam::ResumeCritical
    )
}

/// Runs the program in a thread of its own.
fn start(paths: &Paths, listen: Option<SocketAddr>, life: Life, events: Sender<Event>) -> anyhow::Result<()> {
    let paths = paths.clone();
    // There is no stderr on which somebody would see it.
    std::panic::set_hook(Box::new(
        |panic| tracing::error!(%panic, "a part of the program has failed"),
    ));
    let work = move || {
        let config = WatchedConfig::new(ConfigFile::new(paths.config.clone(), false));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                let ended = runtime.block_on(run::run(&paths, config, listen, life));
                // What still runs there, such as a `netsh` that hangs, is not waited for.
                runtime.shutdown_background();
                ended
            }
            Err(error) => Err(error).context("cannot start the runtime"),
        }
    };
    // The service must not seem to run when its program does not.
    let work = move || {
        let ended = catch_unwind(AssertUnwindSafe(work));
        let ended = ended.unwrap_or_else(|_| Err(anyhow::anyhow!("the program has failed")));
        drop(events.send(Event::Ended(ended)));
    };
    thread::Builder::new()
        .name("service".to_owned())
        .spawn(work)
        .context("cannot start a thread")?;
    Ok(())
}

/// Keeps the manager informed until the program has ended; ends the process when that takes too long.
fn follow(
    happened: &Receiver<Event>,
    status: &ServiceStatusHandle,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let clock = Instant::now();
    loop {
        // A service that runs has nothing to tell, and waits without an end.
        let event = if progress.is_pending() {
            happened.recv_timeout(BEAT)
        } else {
            happened.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match event {
            Ok(Event::Ready) => progress.ready(),
            Ok(Event::Stop(reason)) => {
                tracing::info!(target: event_log::TARGET, reason, "the service stops");
                progress.stop(clock.elapsed());
            }
            Ok(Event::Ended(ended)) => return ended,
            Err(RecvTimeoutError::Timeout) => progress.beat(),
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the program ended without a word"),
        }
        if progress.is_overdue(clock.elapsed()) {
            tracing::error!(
                "closing takes too long: the process ends as it is; the next start clears away what it left"
            );
            tell_stopped(status, exit_code(progress.code(COULD_NOT)));
            end_this_process(COULD_NOT);
        }
        tell(status, progress.told());
    }
}

/// The service's own exit codes, which `sc query` shows: those of the command line.
const COULD_NOT: u32 = 1;
const BAD_CONFIG: u32 = 2;

fn code(ended: &anyhow::Result<()>) -> u32 {
    match ended {
        Ok(()) => 0,
        Err(error) if error.is::<BadConfig>() => BAD_CONFIG,
        Err(_) => COULD_NOT,
    }
}

fn exit_code(code: u32) -> ServiceExitCode {
    match code {
        0 => ServiceExitCode::NO_ERROR,
        code => ServiceExitCode::ServiceSpecific(code),
    }
}

fn tell(status: &ServiceStatusHandle, told: Told) {
    // Windows has one or the other of PRESHUTDOWN and SHUTDOWN; the former comes earlier and waits for us.
    let controls =
        ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN | ServiceControlAccept::POWER_EVENT;
    let (state, accepted, checkpoint) = match told {
        Told::Starting(checkpoint) => (
            ServiceState::StartPending,
            ServiceControlAccept::empty(),
            checkpoint,
        ),
        Told::Running => (ServiceState::Running, controls, 0),
        Told::Stopping(checkpoint) => (
            ServiceState::StopPending,
            ServiceControlAccept::empty(),
            checkpoint,
        ),
    };
    report(status, state, accepted, checkpoint, ServiceExitCode::NO_ERROR);
}

fn tell_stopped(status: &ServiceStatusHandle, code: ServiceExitCode) {
    report(
        status,
        ServiceState::Stopped,
        ServiceControlAccept::empty(),
        0,
        code,
    );
}

fn report(
    status: &ServiceStatusHandle,
    state: ServiceState,
    accepted: ServiceControlAccept,
    checkpoint: u32,
    exit_code: ServiceExitCode,
) {
    let told = status.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepted,
        exit_code,
        checkpoint,
        wait_hint: if checkpoint == 0 {
            std::time::Duration::ZERO
        } else {
            HINT
        },
        process_id: None,
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the service control manager could not be told");
    }
}
