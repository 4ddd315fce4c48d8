//! The machine on which the benchmark runs, for comparisons later.

use std::collections::HashMap;
use std::thread::available_parallelism;

use procfs::prelude::Current;
use procfs::{CpuInfo, LoadAverage, Meminfo};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_mb: u64,
    pub kernel: String,
    /// The load average of the last minute before the run. Other work of the machine makes every figure worse.
    pub load_before: Option<f32>,
}

impl Machine {
    pub fn describe() -> Self {
        let model = |cpu: CpuInfo| cpu.get_info(0).as_ref().and_then(name_of_cpu);
        Self {
            cpu: CpuInfo::current().ok().and_then(model).unwrap_or_else(|| "unknown CPU".into()),
            cores: available_parallelism().map_or(1, usize::from),
            memory_mb: Meminfo::current().map_or(0, |memory| memory.mem_total / (1024 * 1024)),
            kernel: procfs::sys::kernel::Version::current().map_or_else(
                |_| "unknown".into(),
                |version| format!("{}.{}.{}", version.major, version.minor, version.patch),
            ),
            load_before: LoadAverage::current().ok().map(|load| load.one),
        }
    }

    pub fn line(&self) -> String {
        let Self { cpu, cores, memory_mb, kernel, load_before } = self;
        let load = load_before.map_or_else(String::new, |load| format!(", load average before {load:.2}"));
        format!("{cpu}, {cores} cores, {} GB, Linux {kernel}{load}", memory_mb.div_ceil(1024))
    }
}

fn name_of_cpu(info: &HashMap<&str, &str>) -> Option<String> {
    info.get("model name").or_else(|| info.get("Processor")).map(|name| (*name).to_owned())
}
