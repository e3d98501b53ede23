#include <cstdint>
#include <cstdlib>
#include <string>

#include "kernels/error.h"
#include "tools/keras/keras_file.h"
#include "tools/keras/keras_network.h"
#include "tools/keras/keras_weights.h"

// Any text is a configuration that becomes a network, or an Error; any bytes are messages of
// fulmar-hdf5 that become a file, whose weights are placed, or an Error. The HDF5 library itself
// runs in a child: tests/keras_files_test.cpp gives it damaged files.
namespace {

using namespace fulmar;

// A network must survive its own JSON, as a model file holds it.
void place(const keras::KerasFile& file, const std::string& version) {
  for (const int64_t size : {0, 6}) {
    keras::NetworkOptions options;
    if (size > 0) options.size = size, options.channels = 2;
    try {
      const keras::KerasNetwork n = keras::read_network(file.config(), version, options);
      const std::string json = n.network.to_json();
      if (Network::from_json(json).to_json() != json) std::abort();
      if (n.preprocess.crop < 1 || n.preprocess.crop > n.preprocess.size) std::abort();
      Preprocess::from_json(n.preprocess.to_json());
      keras::place_weights(file, n.weights);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage && error.kind() != ErrorKind::file) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  std::string text(reinterpret_cast<const char*>(data), bytes);
  keras::KerasFile file;
  if (text.empty() || text[0] == '{') {
    file.attributes["/\nmodel_config"] = {text};
    place(file, bytes % 2 == 0 ? "2.15.0" : "3.5.0");
    return 0;
  }
  try {
    keras::MessageReader messages(file);
    messages.take(text);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) std::abort();
  }
  place(file, file.version());
  return 0;
}
