//! What the things we need are called by the package managers of common systems.
//!
//! On Debian `apache2-bin` is enough: the full `apache2` package would start a service on port 80.

use std::process::Command;

/// Something a package can bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The Apache server itself.
    Httpd,
    /// apxs and the headers of Apache and APR.
    ApacheHeaders,
    /// libclang, which bindgen reads those headers with.
    Libclang,
    /// A C compiler, which Rust links with and which the ABI tests ask.
    Compiler,
    /// A Python that can run applications, with its shared library and `venv`.
    Python,
    /// What Debian takes out of its Python: `ensurepip`, without which no environment is made.
    Venv,
    /// What counts instructions in the long tier.
    Valgrind,
    /// The load generator of the benchmark.
    Wrk,
}

/// A package manager that we know how to drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Apt,
    Dnf,
    Apk,
    Pacman,
    Brew,
}

impl Manager {
    /// The manager of this machine.
    pub(crate) fn find() -> Option<Manager> {
        let known = [
            ("apt-get", Manager::Apt),
            ("dnf", Manager::Dnf),
            ("apk", Manager::Apk),
            ("pacman", Manager::Pacman),
            ("brew", Manager::Brew),
        ];
        known.into_iter().find(|(program, _)| which::which(program).is_ok()).map(|(_, m)| m)
    }

    fn names(self, need: Need) -> &'static [&'static str] {
        use {Manager::*, Need::*};
        match (self, need) {
            (_, Valgrind) => &["valgrind"],
            (_, Wrk) => &["wrk"],
            (Apt, Httpd) => &["apache2-bin"],
            (Apt, ApacheHeaders) => &["apache2-dev"],
            (Apt, Libclang) => &["libclang-dev"],
            (Apt, Compiler) => &["gcc", "libc6-dev"],
            (Apt, Python) => &["python3", "python3-dev", "python3-venv"],
            (Apt, Venv) => &["python3-venv"],
            (Dnf, Httpd) => &["httpd"],
            (Dnf, ApacheHeaders) => &["httpd-devel"],
            (Dnf, Libclang) => &["clang-devel"],
            (Dnf, Compiler) => &["gcc"],
            (Dnf, Python | Venv) => &["python3", "python3-devel"],
            (Apk, Httpd) => &["apache2"],
            (Apk, ApacheHeaders) => &["apache2-dev"],
            (Apk, Libclang) => &["clang-dev", "clang-libclang"],
            (Apk, Compiler) => &["gcc", "musl-dev"],
            (Apk, Python | Venv) => &["python3", "python3-dev"],
            (Pacman, Httpd | ApacheHeaders) => &["apache"],
            (Pacman, Libclang) => &["clang"],
            (Pacman, Compiler) => &["gcc"],
            (Pacman, Python | Venv) => &["python"],
            (Brew, Httpd | ApacheHeaders) => &["httpd"],
            (Brew, Libclang | Compiler) => &["llvm"],
            (Brew, Python | Venv) => &["python"],
        }
    }

    /// The packages that bring `needs`, each once.
    pub(crate) fn packages(self, needs: &[Need]) -> Vec<&'static str> {
        let mut packages = Vec::new();
        for name in needs.iter().flat_map(|need| self.names(*need)) {
            if !packages.contains(name) {
                packages.push(name);
            }
        }
        packages
    }

    /// The commands that install `packages`, in order.
    pub(crate) fn commands(self, packages: &[&str]) -> Vec<Command> {
        let command = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        };
        // Another apt (a machine just booted updates itself) is waited for, not an error.
        let lock = "DPkg::Lock::Timeout=300";
        let mut commands = match self {
            Manager::Apt => vec![
                command(&["apt-get", "-qq", "-o", lock, "update"]),
                command(&[
                    "apt-get",
                    "-qq",
                    "-o",
                    lock,
                    "install",
                    "-y",
                    "--no-install-recommends",
                ]),
            ],
            Manager::Dnf => vec![command(&["dnf", "install", "-y", "-q"])],
            Manager::Apk => vec![command(&["apk", "add", "-q"])],
            Manager::Pacman => vec![command(&["pacman", "-Sy", "--noconfirm", "--needed"])],
            Manager::Brew => vec![command(&["brew", "install"])],
        };
        for command in &mut commands {
            if self == Manager::Apt {
                command.env("DEBIAN_FRONTEND", "noninteractive");
            }
        }
        if let Some(last) = commands.last_mut() {
            last.args(packages);
        }
        commands
    }

    /// The line a person types to install `packages`.
    pub(crate) fn line(self, packages: &[&str]) -> String {
        let packages = packages.join(" ");
        match self {
            Manager::Apt => {
                format!("sudo apt-get install --no-install-recommends {packages}")
            }
            Manager::Dnf => format!("sudo dnf install {packages}"),
            Manager::Apk => format!("sudo apk add {packages}"),
            Manager::Pacman => format!("sudo pacman -S --needed {packages}"),
            Manager::Brew => format!("brew install {packages}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::show;

    #[test]
    fn debian_gets_no_service() {
        let needs =
            [Need::Httpd, Need::ApacheHeaders, Need::Libclang, Need::Compiler, Need::Python];
        let packages = Manager::Apt.packages(&needs);
        assert!(packages.contains(&"apache2-bin") && !packages.contains(&"apache2"));
        let commands: Vec<String> = Manager::Apt.commands(&packages).iter().map(show).collect();
        assert_eq!(commands.len(), 2);
        assert!(commands[0].ends_with(" update"));
        assert_eq!(
            commands[1],
            "DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
             --no-install-recommends apache2-bin apache2-dev libclang-dev gcc libc6-dev python3 \
             python3-dev python3-venv"
        );
    }

    #[test]
    fn a_package_for_two_needs_is_named_once() {
        assert_eq!(Manager::Pacman.packages(&[Need::Httpd, Need::ApacheHeaders]), ["apache"]);
        assert_eq!(Manager::Brew.line(&["httpd"]), "brew install httpd");
    }
}
