#include "kernels/processors.h"

#include <doctest/doctest.h>
#include <sched.h>

#include <string>
#include <thread>
#include <vector>

#include "engine/io/file.h"
#include "kernels/thread_pool.h"
#include "tests/support/temp_folder.h"

using fulmar::cgroup_quota;
using fulmar::ProcessorShare;

namespace {

// A made /proc and /sys/fs/cgroup.
struct Root {
  fulmar::test::TempFolder folder;

  void write(const std::string& path, const std::string& text) const {
    const std::string whole = folder.path(path);
    fulmar::make_folders(whole.substr(0, whole.rfind('/')));
    fulmar::write_file(whole, text);
  }
  double quota() const { return cgroup_quota(folder.path()); }
};

const char* const mounted_v2 =
    "22 1 8:1 / / rw - ext4 /dev/root rw\n"
    "31 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

}  // namespace

TEST_CASE("the quota of version 2 is the least from the own group up to the root of the mount") {
  const Root root;
  CHECK(root.quota() == 0);  // no /proc
  root.write("proc/self/mountinfo", mounted_v2);
  root.write("proc/self/cgroup", "0::/user.slice/job 7/step\n");
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/user.slice/job 7/step/cpu.max", "max 100000\n");
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/user.slice/job 7/cpu.max", "250000 100000\n");
  CHECK(root.quota() == 2.5);
  root.write("sys/fs/cgroup/user.slice/cpu.max", "1600000 100000\n");
  CHECK(root.quota() == 2.5);
  root.write("sys/fs/cgroup/user.slice/job 7/step/cpu.max", "20000 50000\n");
  CHECK(root.quota() == 0.4);
  root.write("sys/fs/cgroup/other/cpu.max", "1000 100000\n");
  CHECK(root.quota() == 0.4);
  // In a container of its own name space the group is the root of the mount.
  root.write("proc/self/cgroup", "0::/\n");
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  CHECK(root.quota() == 1.5);
}

TEST_CASE("the quota of version 1, with the controllers of other mounts beside it") {
  const Root root;
  root.write("proc/self/mountinfo",
             "32 31 0:29 / /sys/fs/cgroup/cpu,cpu\\040acct rw - cgroup cgroup rw,cpu,cpuacct\n"
             "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
             "38 31 0:41 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
             "a line that is none\n");
  root.write("proc/self/cgroup", "9:name=systemd:/\n3:cpuset:/tight\n2:cpuacct,cpu:/a/b\n0::/\n");
  const std::string mount = "sys/fs/cgroup/cpu,cpu acct/";
  root.write(mount + "a/b/cpu.cfs_quota_us", "-1\n");
  root.write(mount + "a/b/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 0);
  root.write(mount + "a/cpu.cfs_quota_us", "350000\n");
  root.write(mount + "a/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 3.5);
  // A container that sees its group as the mount's root, and its path as the host does.
  root.write("proc/self/mountinfo",
             "32 31 0:29 /docker/12ab /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
  root.write("proc/self/cgroup", "2:cpu:/docker/12ab\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 0.5);
}

TEST_CASE("threads: the affinity, or the quota rounded up where that is less") {
  CHECK(ProcessorShare{8, 0}.threads() == 8);
  CHECK(ProcessorShare{8, 0.5}.threads() == 1);
  CHECK(ProcessorShare{8, 2.1}.threads() == 3);
  CHECK(ProcessorShare{8, 16}.threads() == 8);
  CHECK(ProcessorShare{1, 64}.threads() == 1);
}

TEST_CASE("a pool without a number of threads has as many as the affinity mask gives") {
  std::thread([] {  // the mask is the thread's
    cpu_set_t set;
    REQUIRE(::sched_getaffinity(0, sizeof set, &set) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &set)) first++;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    REQUIRE(::sched_setaffinity(0, sizeof set, &set) == 0);
    CHECK(fulmar::processor_share().affinity == 1);
    CHECK(fulmar::ThreadPool().threads() == 1);
    CHECK(fulmar::ThreadPool(3).threads() == 3);
  })
      .join();
}
