#include "engine/tape_text.h"

#include <cstdio>
#include <map>
#include <type_traits>
#include <utility>
#include <variant>

#include "engine/leaf.h"

namespace fulmar {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

std::string text_of(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool>) {
          return value ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return value;
        } else if constexpr (std::is_same_v<T, int64_t>) {
          return std::to_string(value);
        } else if constexpr (std::is_same_v<T, double>) {
          return number(value);
        } else {
          std::string list;
          for (const auto item : value) {
            if (!list.empty()) list += ',';
            if constexpr (std::is_same_v<T, std::vector<double>>)
              list += number(item);
            else
              list += std::to_string(item);
          }
          return list;
        }
      },
      attribute);
}

// "[16,512,512,8]", "[8] parameter", "[16,1] index i32"
std::string text_of(const ValueInfo& info) {
  std::string text = info.shape.to_string();
  if (info.role != Role::activation) text += std::string(" ") + name_of(info.role);
  if (!info.is_real()) text += std::string(" ") + name_of(info.type);
  return text;
}

// "%7", "%9.1"; "-" for an operand left out.
std::string text_of(Val value) {
  if (!value) return "-";
  return "%" + std::to_string(value.node) +
         (value.output > 0 ? "." + std::to_string(value.output) : "");
}

// "conv2d", "parameter 'conv2d_1/kernel'"
std::string title(const Node& node) {
  std::string text(node.op->name());
  if (const ops::Leaf* leaf = ops::as_leaf(node)) text += " '" + leaf->key() + "'";
  return text;
}

std::string place_of(const Node& node) {
  std::string place;
  for (const std::string& scope : node.scopes) place += (place.empty() ? "" : " / ") + scope;
  return place;
}

std::string outputs_of(const Node& node) {
  std::string text;
  for (const ValueInfo& output : node.outputs) text += (text.empty() ? "" : ", ") + text_of(output);
  return text;
}

// "depthwise_conv2d, conv2d": the ops in whose place a fused one stands; empty for others.
std::string composition_of(const Tape& tape, const Node& node) {
  Tape composed;
  std::vector<Val> inputs;
  for (size_t i = 0; i < node.inputs.size(); i++)
    inputs.push_back(node.inputs[i]
                         ? ops::input(composed, std::to_string(i), tape.info(node.inputs[i]))
                         : Val{});
  const int first = composed.size();
  node.op->compose(composed, inputs);
  std::string names;
  for (int n = first; n < composed.size(); n++)
    names += (names.empty() ? "" : ", ") + std::string(composed.node(n).op->name());
  return names;
}

std::string line_of(const Tape& tape, int n) {
  const Node& node = tape.node(n);
  std::string line = node.outputs.empty() ? "" : text_of(Val{n, 0}) + " = ";
  line += title(node);
  if (!node.op->is_leaf()) {
    std::string operands;
    for (const Val x : node.inputs) operands += (operands.empty() ? "" : ", ") + text_of(x);
    line += "(" + operands + ")";
  }
  if (!node.outputs.empty()) line += " " + outputs_of(node);
  if (node.op->is_leaf()) return line;
  std::string settings;
  for (const auto& [key, value] : node.op->attributes())
    settings += " " + key + "=" + text_of(value);
  if (!settings.empty()) line += " " + settings;
  const std::string composition = composition_of(tape, node);
  return composition.empty() ? line : line + "  in place of " + composition;
}

// A graph in one of the two languages: nodes in boxes of their layers, then edges.
struct GraphStyle {
  const char* begin;
  const char* end;
  // Arguments: number of the box and its title; number of the node and its label.
  std::string (*begin_box)(int, const std::string&);
  const char* end_box;
  std::string (*node)(int, const std::string&, bool is_leaf);
  std::string (*edge)(int, int);
  const char* new_line;  // within a label
};

std::string graph_of(const Tape& tape, const std::vector<int>& nodes, const GraphStyle& style) {
  // Places in the order in which they are met.
  std::vector<std::pair<std::string, std::vector<int>>> boxes;
  std::map<std::string, size_t> known;
  std::vector<bool> shown(static_cast<size_t>(tape.size()), false);
  for (const int n : nodes) {
    const std::string place = place_of(tape.node(n));
    const auto [at, first] = known.emplace(place, boxes.size());
    if (first) boxes.emplace_back(place, std::vector<int>{});
    boxes[at->second].second.push_back(n);
    shown[static_cast<size_t>(n)] = true;
  }
  std::string text = style.begin;
  for (size_t b = 0; b < boxes.size(); b++) {
    const auto& [place, members] = boxes[b];
    if (!place.empty()) text += style.begin_box(static_cast<int>(b), place);
    for (const int n : members) {
      const Node& node = tape.node(n);
      std::string label = title(node);
      if (!node.outputs.empty()) label += style.new_line + outputs_of(node);
      text += style.node(n, label, node.op->is_leaf());
    }
    if (!place.empty()) text += style.end_box;
  }
  for (const int n : nodes)
    for (const Val x : tape.node(n).inputs)
      if (x && shown[static_cast<size_t>(x.node)]) text += style.edge(x.node, n);
  return text + style.end;
}

// `text` with each `what` replaced.
std::string replaced(std::string text, char what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, 1, by);
  return text;
}

std::string id_of(int n) { return "n" + std::to_string(n); }
std::string graphviz_text(const std::string& label) {
  return "\"" + replaced(label, '"', "\\\"") + "\"";
}
std::string mermaid_text(const std::string& label) {
  return "\"" + replaced(label, '"', "#quot;") + "\"";
}

}  // namespace

std::string tape_as_text(const Tape& tape, const std::vector<int>& nodes) {
  std::string text, place;
  for (const int n : nodes) {
    const std::string here = place_of(tape.node(n));
    if (here != place && !here.empty()) text += here + "\n";
    place = here;
    text += (here.empty() ? "" : "  ") + line_of(tape, n) + "\n";
  }
  return text;
}

std::string tape_as_graphviz(const Tape& tape, const std::vector<int>& nodes) {
  return graph_of(
      tape, nodes,
      {"digraph tape {\n  node [shape=box, fontname=Helvetica];\n", "}\n",
       [](int box, const std::string& title) {
         return "  subgraph cluster" + std::to_string(box) +
                " {\n    label=" + graphviz_text(title) + ";\n";
       },
       "  }\n",
       [](int number, const std::string& label, bool is_leaf) {
         return "    " + id_of(number) + " [label=" + graphviz_text(label) +
                (is_leaf ? ", shape=ellipse" : "") + "];\n";
       },
       [](int from, int to) { return "  " + id_of(from) + " -> " + id_of(to) + ";\n"; }, "\\n"});
}

std::string tape_as_mermaid(const Tape& tape, const std::vector<int>& nodes) {
  return graph_of(
      tape, nodes,
      {"flowchart TD\n", "",
       [](int box, const std::string& title) {
         return "  subgraph s" + std::to_string(box) + "[" + mermaid_text(title) + "]\n";
       },
       "  end\n",
       [](int number, const std::string& label, bool is_leaf) {
         return "    " + id_of(number) +
                (is_leaf ? "([" + mermaid_text(label) + "])" : "[" + mermaid_text(label) + "]") +
                "\n";
       },
       [](int from, int to) { return "  " + id_of(from) + " --> " + id_of(to) + "\n"; }, "<br/>"});
}

}  // namespace fulmar
