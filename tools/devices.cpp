#include <optional>
#include <string>
#include <vector>

#include "engine/cuda.h"
#include "kernels/error.h"
#include "kernels/processors.h"
#include "tools/cli.h"
#include "tools/output.h"
#include "tools/run/machine.h"
#include "tools/run/memory.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

// What there is of CUDA, or why not.
struct Gpus {
  std::string library, missing;
  CudaVersions versions;
  std::vector<CudaDevice> devices;
};

Gpus find_gpus() {
  Gpus gpus;
  try {
    const LoadedCuda cuda = load_cuda();
    gpus.library = cuda.path;
    gpus.versions = cuda.library->versions();
    gpus.devices = cuda_devices(cuda);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    gpus.missing = error.what();
  }
  return gpus;
}

std::string number(int major, int minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json json_of(const Gpus& gpus, const Json& machine, const ProcessorShare& share) {
  Json devices = Json::array({{{"device", "cpu"},
                               {"name", machine.at("processor")},
                               {"instruction_set", machine.at("instruction_set")},
                               {"processors", machine.at("processors")},
                               {"affinity", share.affinity},
                               {"quota", share.quota > 0 ? Json(share.quota) : Json(nullptr)},
                               {"threads", machine.at("threads")},
                               {"memory_bytes", machine.at("memory_bytes")}}});
  for (size_t i = 0; i < gpus.devices.size(); i++) {
    const CudaDevice& d = gpus.devices[i];
    devices.push_back({{"device", "cuda:" + std::to_string(i)},
                       {"name", d.name},
                       {"compute_capability", number(d.major, d.minor)},
                       {"multiprocessors", d.processors},
                       {"memory_bytes", d.total_bytes},
                       {"usable", d.supported}});
  }
  const CudaVersions& v = gpus.versions;
  return {{"devices", devices},
          {"cuda",
           {{"library", text_or_null(gpus.library)},
            {"driver", text_or_null(v.driver)},
            {"runtime", text_or_null(v.runtime)},
            {"cudnn", text_or_null(v.cudnn)},
            {"cublaslt", text_or_null(v.cublaslt)},
            {"missing", text_or_null(gpus.missing)}}}};
}

// What keeps the process from some of the processors; empty where nothing does.
std::string limits(const ProcessorShare& share, int64_t processors) {
  std::string text;
  if (share.affinity < processors)
    text = "its affinity is " + std::to_string(share.affinity) +
           (share.affinity == 1 ? " processor" : " processors");
  if (share.quota > 0)
    text += (text.empty() ? "" : ", ") + std::string("its control group's quota is ") +
            fixed(share.quota, 2) + " processors";
  return text.empty() ? "" : " (" + text + ")";
}

std::string text_of(const Gpus& gpus, const Json& machine, const ProcessorShare& share) {
  std::string text = "cpu     " + machine.at("processor").get<std::string>() + ", " +
                     machine.at("instruction_set").get<std::string>() + ", " +
                     std::to_string(machine.at("threads").get<int>()) + " threads of " +
                     std::to_string(machine.at("processors").get<int64_t>()) + " processors" +
                     limits(share, machine.at("processors")) + ", " +
                     readable_bytes(machine.at("memory_bytes").get<uint64_t>()) + "\n";
  for (size_t i = 0; i < gpus.devices.size(); i++) {
    const CudaDevice& d = gpus.devices[i];
    text += "cuda:" + std::to_string(i) + "  " + describe(d) + ", " + std::to_string(d.processors) +
            " multiprocessors, " + readable_bytes(d.total_bytes) +
            (d.supported ? "\n" : "; the library has no code for it\n");
  }
  const CudaVersions& v = gpus.versions;
  if (!gpus.library.empty())
    text += "CUDA    driver " + (v.driver.empty() ? "none" : v.driver) + ", runtime " + v.runtime +
            ", cuDNN " + v.cudnn + ", cuBLASLt " + v.cublaslt + " (" + gpus.library + ")\n";
  if (!gpus.missing.empty()) text += "no GPU  " + gpus.missing + "\n";
  return text;
}

int run(const SharedOptions& shared) {
  CommandContext command(shared);
  Context& context = command.context();
  const Json machine = machine_json(context.device("cpu"), context);
  const Gpus gpus = find_gpus();
  const ProcessorShare share = processor_share();
  if (shared.json)
    print_pretty(json_of(gpus, machine, share));
  else
    print(text_of(gpus, machine, share));
  return exit_ok;
}

}  // namespace

void add_devices(Cli& cli) {
  add_command(cli, "devices",
              "What can compute here: the processor, each GPU, or why there is none",
              [&cli] { return run(cli.shared); });
}

}  // namespace fulmar::tools
