//! Is the configuration good?

use super::finding::Finding;
use super::scene::Scene;
use crate::config::{Config, warnings};

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    let path = scene.places.config.display();
    if !scene.places.config.exists() {
        return vec![Finding::warn(
            format!(
                "{path} is not there: the unit does not start without it, and by hand wslnetd would share everything"
            ),
            "install the shipped one, systemd/config.toml",
        )];
    }
    let refused = scene
        .status
        .as_ref()
        .is_ok_and(|status| status.config_error.is_some());
    judge(&path.to_string(), &scene.config, refused)
}

fn judge(path: &str, config: &Result<Config, String>, refused: bool) -> Vec<Finding> {
    let config = match config {
        Ok(config) => config,
        Err(summary) => {
            return vec![Finding::fail(
                format!("the configuration has mistakes: {summary}"),
                "`wslnetd check` shows each of them, with a hint",
            )];
        }
    };
    let mut findings = vec![if refused {
        Finding::warn(
            format!("{path} has no mistakes, but the running daemon refused it before they were mended"),
            "sudo systemctl reload wslnetd",
        )
    } else {
        Finding::ok(format!("{path} has no mistakes"))
    }];
    let odd = warnings(config).into_iter();
    findings.extend(odd.map(|warning| Finding::warn(warning, "see `wslnetd check`")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_fail_and_a_mended_file_wants_a_reload() {
        let level = |config: &Result<Config, String>, refused| judge("c", config, refused)[0].level.word();

        assert_eq!(level(&Ok(Config::default()), false), "ok");
        assert_eq!(level(&Ok(Config::default()), true), "warn");
        assert_eq!(level(&Err("config.toml:1: 2 mistakes".to_owned()), true), "fail");
    }
}
