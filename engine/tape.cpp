#include "engine/tape.h"

#include <algorithm>
#include <utility>

#include "kernels/error.h"

namespace fulmar {
namespace {

std::string label(std::string_view op, const std::vector<std::string>& scopes) {
  std::string text(op);
  if (scopes.empty()) return text;
  text += " '" + scopes.back() + "'";
  for (size_t i = 0; i + 1 < scopes.size(); i++) text += (i ? ", " : " (") + scopes[i];
  return scopes.size() > 1 ? text + ")" : text;
}

// Levenshtein distance, for "did you mean".
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); j++) row[j] = j;
  for (size_t i = 1; i <= a.size(); i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

// Sizes and offsets computed from a shape must not overflow, whatever a network's file says.
void check_size(const Shape& shape) {
  int64_t elements = 1;
  for (int axis = 0; axis < shape.rank(); axis++) {
    if (shape[axis] < 0) usage_error("a value of shape " + shape.to_string() + " can't be");
    if (__builtin_mul_overflow(elements, std::max<int64_t>(shape[axis], 1), &elements) ||
        elements > Tape::max_elements)
      usage_error("a value of shape " + shape.to_string() + " is too large");
  }
}

}  // namespace

const char* name_of(Role role) {
  switch (role) {
    case Role::activation:
      return "activation";
    case Role::parameter:
      return "parameter";
    case Role::statistic:
      return "statistic";
    case Role::sum:
      return "sum";
    case Role::index:
      return "index";
    case Role::source:
      return "source";
  }
  usage_error("unknown role");
}

Val Tape::append(std::shared_ptr<const Op> op, std::vector<Val> inputs) {
  std::vector<ValueInfo> infos;
  for (Val input : inputs) infos.push_back(input ? info(input) : ValueInfo{});
  Node node{std::move(op), std::move(inputs), {}, scopes_};
  try {
    node.outputs = node.op->infer(infos);
    for (const ValueInfo& output : node.outputs) check_size(output.shape);
  } catch (const Error& error) {
    throw Error(error.kind(), label(node.op->name(), scopes_), error.what());
  }
  nodes_.push_back(std::move(node));
  return Val{size() - 1, 0};
}

const ValueInfo& Tape::info(Val value) const {
  if (value.node < 0 || value.node >= size() || value.output < 0 ||
      value.output >= static_cast<int>(node(value.node).outputs.size()))
    usage_error("a value that is not on this tape was used");
  return node(value.node).outputs[static_cast<size_t>(value.output)];
}

void Tape::name(Val value, const std::string& name) {
  info(value);
  if (!names_.emplace(name, value).second)
    usage_error("two values are named '" + name + "': names on a tape are unique");
}

Val Tape::find(std::string_view name) const {
  const auto found = names_.find(std::string(name));
  if (found != names_.end()) return found->second;
  const auto nearest =
      std::min_element(names_.begin(), names_.end(), [&](const auto& a, const auto& b) {
        return edit_distance(a.first, name) < edit_distance(b.first, name);
      });
  usage_error("there is no value named '" + std::string(name) + "'" +
              (nearest == names_.end() ? "" : "; did you mean '" + nearest->first + "'?"));
}

Tape::Scope Tape::scope(const std::string& name) {
  std::vector<std::string> path = scopes_;
  path.push_back(name);
  return Scope(*this, std::move(path));
}

std::string Tape::describe(int index) const {
  return label(node(index).op->name(), node(index).scopes);
}

}  // namespace fulmar
