#pragma once

#include <string>

namespace fulmar {

// How much of the machine's processors this process may use.
struct ProcessorShare {
  int affinity = 1;  // processors that its threads may run on
  double quota = 0;  // of its control groups, in processors; 0: none

  // As many threads as run at once: the affinity, or the quota rounded up where that is less.
  int threads() const;
};

// The least quota of the process's control groups, version 1 (cpu.cfs_quota_us) and 2 (cpu.max),
// from its own up to the root of the mount; 0: none. `root` stands before /proc and the mounts.
double cgroup_quota(const std::string& root = "");

// What the system tells now.
ProcessorShare processor_share();

}  // namespace fulmar
