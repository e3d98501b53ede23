#include "tools/info_tape.h"

#include <variant>

#include "engine/tape_text.h"

namespace fulmar::tools {
namespace {

Json json_of(const ValueInfo& info) {
  Json shape = Json::array();
  for (int axis = 0; axis < info.shape.rank(); axis++) shape.push_back(info.shape[axis]);
  Json json{{"shape", shape}, {"role", name_of(info.role)}};
  if (!info.is_real()) json["type"] = name_of(info.type);
  return json;
}

Json json_of(const Node& node, int number) {
  Json inputs = Json::array(), outputs = Json::array(), attributes = Json::object();
  for (const Val x : node.inputs)
    inputs.push_back(x ? Json::array({x.node, x.output}) : Json(nullptr));
  for (const ValueInfo& info : node.outputs) outputs.push_back(json_of(info));
  for (const auto& [key, value] : node.op->attributes())
    std::visit([&, &name = key](const auto& v) { attributes[name] = v; }, value);
  return {{"node", number},   {"op", node.op->name()}, {"scopes", node.scopes},
          {"inputs", inputs}, {"outputs", outputs},    {"attributes", attributes}};
}

}  // namespace

std::string tape_in(const std::string& format, const Tape& tape, const Plan& plan) {
  const std::vector<int> nodes = nodes_of(plan);
  if (format == "graphviz") return tape_as_graphviz(tape, nodes);
  if (format == "mermaid") return tape_as_mermaid(tape, nodes);
  return tape_as_text(tape, nodes);
}

Json tape_as_json(const Tape& tape, const Plan& plan) {
  Json nodes = Json::array();
  for (const int n : nodes_of(plan)) nodes.push_back(json_of(tape.node(n), n));
  return nodes;
}

}  // namespace fulmar::tools
