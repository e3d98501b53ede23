#include "tools/keras/keras_network.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "kernels/error.h"
#include "tools/keras/builder.h"
#include "tools/keras/graph.h"

namespace fulmar::keras {
namespace {

// The rescaling and the crop behind the input, where no other layer reads what is before them, go
// into the record of the pictures: there they commute.
Preprocess take_front(std::vector<Call>& calls, const std::map<std::string, FromInput>& marks,
                      const std::string& output, const Shape& input,
                      const NetworkOptions& options) {
  const int64_t bands = input.channels();
  Preprocess p = Preprocess::of_pictures(input.height(), input.height(), bands);
  p.resize = options.resize;
  const auto [low, high] = options.scale;
  const auto channels = static_cast<size_t>(bands);
  p.scale.assign(channels, (high - low) / 255);
  p.offset.assign(channels, low);
  for (;;) {
    const std::string front = calls[0].name;
    if (front == output) break;
    size_t reader = 0, readers = 0;
    for (size_t i = 1; i < calls.size(); i++)
      for (const std::string& in : calls[i].inputs)
        if (in == front) reader = i, readers++;
    const auto mark = readers == 1 ? marks.find(calls[reader].name) : marks.end();
    if (mark == marks.end() || calls[reader].name == output) break;
    if (mark->second.kind == FromInput::Kind::crop) {
      p.crop = mark->second.side;
    } else {
      for (size_t k = 0; k < channels; k++) {
        const double scale = mark->second.scale[mark->second.scale.size() == 1 ? 0 : k];
        p.scale[k] *= scale;
        p.offset[k] =
            p.offset[k] * scale + mark->second.offset[mark->second.offset.size() == 1 ? 0 : k];
      }
    }
    const std::string gone = calls[reader].name;
    calls.erase(calls.begin() + static_cast<std::ptrdiff_t>(reader));
    for (Call& call : calls)
      for (std::string& in : call.inputs)
        if (in == gone) in = front;
  }
  return p;
}

bool is_activation(const Call& call, const char* function) {
  const auto found = call.attributes.find("function");
  return call.op == "activation" && found != call.attributes.end() &&
         found->second == Attribute(std::string(function));
}

// Turns probabilities into the logits that they come from, and says what they are of.
std::string take_output(std::vector<Call>& calls, Builder& builder, const std::string& output,
                        KerasNetwork& result) {
  const auto at = std::find_if(calls.begin(), calls.end(),
                               [&](const Call& call) { return call.name == output; });
  const Shape y = builder.shape(output);
  const bool one_pixel = y.height() == 1 && y.width() == 1;
  const bool read = std::any_of(calls.begin(), calls.end(), [&](const Call& call) {
    return std::find(call.inputs.begin(), call.inputs.end(), output) != call.inputs.end();
  });
  const bool softmax = is_activation(*at, "softmax"), sigmoid = is_activation(*at, "sigmoid");
  if (read || (!softmax && !sigmoid)) return output;
  if (softmax && y.channels() < 2) return output;
  const bool one_unit = sigmoid && y.channels() == 1;
  if (sigmoid && !one_pixel) return output;
  result.classes = one_unit ? 2 : y.channels();
  result.output = sigmoid && !one_unit ? OutputKind::labels
                  : one_pixel          ? OutputKind::classes
                                       : OutputKind::pixel_classes;
  std::string logits = at->inputs[0];
  calls.erase(at);
  if (!one_unit) return logits;
  // sigmoid(z) is the second of softmax(0, z).
  Builder::Layer layer;
  layer.base = builder.unique("two_logits");
  layer.place = {"", layer.base, "two_logits", false, {}};
  builder.set_layer(layer);
  std::string two =
      builder.add("dense", "", {{logits, 2}}, {{"units", int64_t{2}}, {"use_bias", false}},
                  {{"kernel", {}, {}, 0, {0, 1}}}, true);
  builder.note("the output is the probability of the second class: '" + two +
               "' makes logits 0 and z of it, whose softmax is the same");
  return two;
}

int major_of(const std::string& version) {
  int major = 2;
  std::from_chars(version.data(), version.data() + version.size(), major);
  return major;
}

}  // namespace

KerasNetwork read_network(const std::string& text, const std::string& version,
                          const NetworkOptions& options) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) file_error("its configuration is not JSON");
  Builder builder(major_of(version));
  const ReadGraph graph = read_graph(json, builder, options);
  const std::vector<Value>& outputs = graph.outputs;
  const auto count = std::count_if(builder.calls().begin(), builder.calls().end(),
                                   [](const Call& call) { return call.op == "input"; });
  if (count != 1 || outputs.size() != 1)
    file_error("the model has " + std::to_string(count) + " inputs and " +
               std::to_string(outputs.size()) + " outputs, only one of each can be read");
  std::vector<Call>& calls = builder.calls();
  const auto first =
      std::find_if(calls.begin(), calls.end(), [](const Call& call) { return call.op == "input"; });
  std::rotate(calls.begin(), first, first + 1);
  const Shape input = builder.shape(calls[0].name);
  if (input.height() != input.width())
    file_error("the model takes pictures of " + std::to_string(input.height()) + "x" +
               std::to_string(input.width()) + " pixels, only square ones can be read");

  KerasNetwork result;
  result.output_layer = graph.last_name;
  result.output_class = graph.last_class;
  const std::string output = take_output(calls, builder, outputs[0].call, result);
  result.preprocess = take_front(calls, builder.marks(), output, input, options);
  for (const Call& call : calls) result.network.add(call);
  result.network.set_outputs({output});
  result.weights = std::move(builder.weights());
  result.notes = std::move(builder.notes());
  result.layers = graph.layers;
  if (graph.inactive > 0)
    result.notes.push_back(std::to_string(graph.inactive) +
                           " layers of augmentation do nothing in inference and are left out; "
                           "'fulmar train' augments by its own options");
  return result;
}

}  // namespace fulmar::keras
