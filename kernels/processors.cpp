#include "kernels/processors.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

namespace fulmar {
namespace {

// A hierarchy of control groups that is mounted.
struct Mount {
  std::string root, place;  // which group is seen, and where
  bool v2 = false;
};

bool has_word(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// mountinfo writes a space and the like as \ooo, three octal digits.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    const bool escape = text[i] == '\\' && i + 3 < text.size();
    plain += escape ? static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8))
                    : text[i];
    if (escape) i += 3;
  }
  return plain;
}

// Mounts with the controller of processor time: proc(5), /proc/pid/mountinfo.
std::vector<Mount> cgroup_mounts(const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash)), after(line.substr(dash + 3));
    std::string ignored, type, options;
    Mount mount;
    before >> ignored >> ignored >> ignored >> mount.root >> mount.place;
    after >> type >> ignored >> options;
    mount.v2 = type == "cgroup2";
    mount.root = unescaped(mount.root);
    mount.place = unescaped(mount.place);
    if (mount.v2 || (type == "cgroup" && has_word(options, "cpu"))) mounts.push_back(mount);
  }
  return mounts;
}

// The process's group in one hierarchy: cgroups(7), lines "ID:CONTROLLERS:PATH".
std::string own_group(const std::string& root, bool v2) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? controllers.empty() && line[0] == '0' : has_word(controllers, "cpu"))
      return line.substr(second + 1);
  }
  return "/";
}

// Of one group, in processors; 0: none.
double quota_in(const std::string& folder, bool v2) {
  double quota = -1, period = 0;
  if (v2) {
    std::ifstream file(folder + "/cpu.max");  // "max PERIOD": none
    file >> quota >> period;
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

// A mask that is too short for the machine is refused with EINVAL.
int affinity() {
  for (int size = 1024; size <= 1 << 20; size *= 2) {
    const auto free = [](cpu_set_t* set) { CPU_FREE(set); };
    const std::unique_ptr<cpu_set_t, decltype(free)> set(CPU_ALLOC(static_cast<size_t>(size)),
                                                         free);
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(size));
    if (!set) break;
    if (::sched_getaffinity(0, bytes, set.get()) == 0)
      return std::max(1, CPU_COUNT_S(bytes, set.get()));
    if (errno != EINVAL) break;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

int ProcessorShare::threads() const {
  if (quota <= 0 || quota >= affinity) return affinity;
  return std::max(1, static_cast<int>(std::ceil(quota)));
}

double cgroup_quota(const std::string& root) {
  double least = 0;
  for (const Mount& mount : cgroup_mounts(root)) {
    // A container may see its own group as the mount's root, and its path from the host's.
    std::string group = own_group(root, mount.v2);
    if (mount.root != "/" && group.rfind(mount.root, 0) == 0)
      group = group.substr(mount.root.size());
    for (;;) {
      const double quota = quota_in(root + mount.place + group, mount.v2);
      if (quota > 0 && (least == 0 || quota < least)) least = quota;
      if (group.empty()) break;
      group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
    }
  }
  return least;
}

ProcessorShare processor_share() { return {affinity(), cgroup_quota()}; }

}  // namespace fulmar
