#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/tape.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

// Numbers with the shape and role of x.
Val constant_like(Tape& tape, Val x, double value) {
  const ValueInfo info = tape.info(x);
  return ops::constant(tape, info.shape, value, info.role);
}

// What is of use: the cotangents of some values, and of the outputs of those nodes of [begin, end)
// that lie behind them. Some of the values are what grad itself was asked for.
class Behind {
 public:
  Behind(const Tape& tape, std::span<const Val> values, std::span<const Val> asked, int begin,
         int end)
      : values_(values.begin(), values.end()), asked_(asked.begin(), asked.end()), begin_(begin) {
    for (int n = begin; n < end; n++) {
      const std::vector<Val>& inputs = tape.node(n).inputs;
      nodes_.push_back(
          std::any_of(inputs.begin(), inputs.end(), [&](Val x) { return x && wants(x); }));
    }
  }
  bool node(int n) const { return n >= begin_ && nodes_[static_cast<size_t>(n - begin_)]; }
  bool asks(Val x) const { return asked_.count(x) > 0; }
  bool wants(Val x) const { return node(x.node) || values_.count(x) > 0; }

 private:
  std::set<Val> values_, asked_;
  int begin_;
  std::vector<bool> nodes_;
};

std::string text_of(const ValueInfo& info) {
  return info.shape.to_string() + " " +
         (info.is_real() ? name_of(info.role) : std::string(name_of(info.type)));
}

// What a gradient rule gives must be what its op's inputs are.
void check_cotangents(const Tape& tape, std::span<const Val> inputs, std::span<const Val> dx,
                      const std::vector<bool>& wanted) {
  if (dx.size() != inputs.size())
    usage_error("its gradient rule gave " + std::to_string(dx.size()) + " values for " +
                std::to_string(inputs.size()) + " operands");
  for (size_t i = 0; i < inputs.size(); i++) {
    if (!wanted[i] || !dx[i]) continue;
    const ValueInfo &x = tape.info(inputs[i]), &given = tape.info(dx[i]);
    if (given.shape != x.shape || !same_type(given.role, x.role))
      usage_error("its gradient rule gave " + text_of(given) + " for operand " +
                  std::to_string(i + 1) + ", which is " + text_of(x));
  }
}

// Adds to the cotangents those of what nodes [begin, end) were made from, as far as somebody wants
// them.
void propagate(Tape& tape, std::map<Val, Val>& cotangent, const Behind& behind, int begin, int end,
               const GradRules& rules) {
  for (int n = end - 1; n >= begin; n--) {
    if (!behind.node(n)) continue;
    const Node& node = tape.node(n);  // stays in its place while rules append
    std::vector<Val> outputs, dys;
    bool reached = false;
    for (int i = 0; i < static_cast<int>(node.outputs.size()); i++) {
      const auto found = cotangent.find(Val{n, i});
      outputs.push_back(Val{n, i});
      dys.push_back(found == cotangent.end() ? Val{} : found->second);
      reached = reached || dys.back();
    }
    if (!reached) continue;

    std::vector<bool> wanted, asked, added(node.inputs.size(), false);
    std::vector<Val> so_far;
    for (const Val x : node.inputs) {
      wanted.push_back(x && behind.wants(x));
      asked.push_back(x && behind.asks(x));
      const auto found = cotangent.find(x);
      const auto before = node.inputs.begin() + std::ssize(so_far);
      const bool again = std::find(node.inputs.begin(), before, x) != before;
      so_far.push_back(!x || again || found == cotangent.end() ? Val{} : found->second);
    }
    const auto scope = tape.scope_of(n);
    std::vector<Val> dx;
    try {
      const Vjp v{tape, node.inputs, outputs, dys, wanted, asked, so_far, added};
      const auto rule = rules.find(node.op->name());
      dx = rule == rules.end() ? node.op->vjp(v) : rule->second(v);
      check_cotangents(tape, node.inputs, dx, wanted);
    } catch (const Error& error) {
      throw Error(error.kind(), "grad through " + tape.describe(n), error.what());
    }
    for (size_t i = 0; i < node.inputs.size(); i++) {
      if (!wanted[i] || !dx[i]) continue;
      const auto [at, first] = cotangent.emplace(node.inputs[i], dx[i]);
      if (!first) at->second = so_far[i] && added[i] ? dx[i] : ops::add(tape, at->second, dx[i]);
    }
  }
}

}  // namespace

std::vector<Val> Op::vjp(const Vjp& v) const {
  const int begin = v.tape.size();
  const std::vector<Val> y = compose(v.tape, v.x);
  if (y.empty()) usage_error("has no gradient rule: grad can't go through it");
  std::vector<Val> wanted, asked;
  for (size_t i = 0; i < v.x.size(); i++) {
    if (v.wanted[i]) wanted.push_back(v.x[i]);
    if (v.asked[i]) asked.push_back(v.x[i]);
  }
  const int end = v.tape.size();
  std::map<Val, Val> cotangent;
  for (size_t i = 0; i < y.size(); i++) {
    if (!v.dy[i]) continue;
    if (!y[i]) usage_error("has no gradient rule for its output " + std::to_string(i + 1));
    cotangent[y[i]] = v.dy[i];
  }
  propagate(v.tape, cotangent, Behind(v.tape, wanted, asked, begin, end), begin, end, {});
  std::vector<Val> dx(v.x.size());
  for (size_t i = 0; i < dx.size(); i++) {
    const auto found = v.wanted[i] ? cotangent.find(v.x[i]) : cotangent.end();
    if (found == cotangent.end()) continue;
    dx[i] = found->second;
    cotangent.erase(found);  // an operand that stands there twice has one cotangent
  }
  return dx;
}

std::vector<Val> grad(Tape& tape, Val y, std::span<const Val> wrt, Val dy, const GradRules& rules) {
  if (!dy) dy = constant_like(tape, y, 1);
  if (tape.shape(dy) != tape.shape(y))
    usage_error("grad: the cotangent has shape " + tape.shape(dy).to_string() +
                ", the value it belongs to " + tape.shape(y).to_string());
  dy = ops::as_role(tape, dy, tape.info(y).role);
  int begin = y.node;
  for (const Val w : wrt) {
    tape.info(w);  // throws where there is no such value
    begin = std::min(begin, w.node);
  }
  std::map<Val, Val> cotangent{{y, dy}};
  const int end = y.node + 1;
  propagate(tape, cotangent, Behind(tape, wrt, wrt, begin, end), begin, end, rules);
  std::vector<Val> result;
  for (Val w : wrt) {
    const auto found = cotangent.find(w);
    result.push_back(found != cotangent.end() ? found->second : constant_like(tape, w, 0));
  }
  return result;
}

Val grad(Tape& tape, Val y, Val wrt, Val dy, const GradRules& rules) {
  return grad(tape, y, std::span(&wrt, 1), dy, rules)[0];
}

}  // namespace fulmar
