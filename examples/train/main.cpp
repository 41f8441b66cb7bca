#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/signals.hpp"
#include "command_line.hpp"
#include "csv.hpp"
#include "dataset.hpp"
#include "evaluation.hpp"
#include "model_file.hpp"
#include "network.hpp"
#include "report.hpp"

using namespace grafo;
using namespace grafo::literals;

namespace {

constexpr std::size_t held_out_part = 5;  // one row of so many

Task<CsvTable> read(ThreadPool* pool, std::filesystem::path file) {
    const auto work = [&file] { return read_csv(file); };
    co_return co_await offload(*pool, work);
}

// A chunk every epoch, where a stop arrives; in the end the best model.
AsyncGenerator<Epoch, Model> train(ThreadPool* pool, const Dataset& data, const Split& split,
                                   Settings settings) {
    Trainer trainer(data, split, settings);
    const auto step = [&trainer] { return trainer.step(); };
    while (!trainer.done()) {
        const Epoch epoch = co_await offload(*pool, step);
        co_yield epoch;
    }
    co_return trainer.best();
}

// Trains with all but one fold, and evaluates on that one. The trainings take turns on the pool,
// epoch by epoch, so that none waits for the end of another.
Task<Evaluation> validate_fold(ThreadPool* pool, const Dataset& data, std::size_t fold,
                               std::size_t folds, Settings settings) {
    // not the shuffle of node split, of which the first of five folds would be the same
    const Split split = split_rows(data, settings.seed + 1, fold, folds);
    auto epochs = train(pool, data, split, settings);
    while (const Epoch* epoch = co_await epochs.next()) static_cast<void>(epoch);
    co_return evaluate(epochs.result(), data, split);
}

// Throws unless the model that was loaded is the one that was saved, and predicts the same.
std::size_t compare(const Model& saved, const Model& loaded, const Dataset& data,
                    const Split& split) {
    if (saved != loaded ||
        predict(saved, data, split.held_out) != predict(loaded, data, split.held_out)) {
        throw std::runtime_error("the model that was loaded is not the one that was saved");
    }
    return split.held_out.size();
}

//                           ┌─> fold_1 ─┐
//                           ├─> ...     ├─> cross_validation
// read_csv ─> make_dataset ─┼─> fold_5 ─┘
//                           └─> split ───> train ─┬─> evaluate
// open_output ────────────────────────────────────┴─> save_model ─> load_model ─> compare
Task<> train_and_evaluate(const Options& options) {
    ThreadPool pool;
    const Settings& settings = options.settings;

    Node table{"read_csv", read, "pool"_a = &pool, "file"_a = options.csv};
    Node data{"make_dataset", make_dataset, "table"_a = table, "label"_a = options.label,
              "fewest"_a = std::max(options.folds, fewest_rows)};
    Node split{"split",         split_rows,
               "data"_a = data, "seed"_a = settings.seed,
               "fold"_a = 0U,   "folds"_a = held_out_part};
    Node trained{"train",           train,
                 "pool"_a = &pool,  "data"_a = data,
                 "split"_a = split, "settings"_a = settings};
    Node evaluation{"evaluate", evaluate, "model"_a = trained, "data"_a = data, "split"_a = split};

    Node output{"open_output", open_output, "file"_a = options.model};
    Node saved{"save_model", save_model, "model"_a = trained, "file"_a = output};
    Node loaded{"load_model", load_model, "file"_a = saved};
    Node same{"compare",           compare,         "saved"_a = trained,
              "loaded"_a = loaded, "data"_a = data, "split"_a = split};

    std::vector<Node<Evaluation>> folds;
    for (std::size_t fold = 0; fold < options.folds; ++fold) {
        folds.push_back(Node{fmt::format("fold_{}", fold + 1), validate_fold, "pool"_a = &pool,
                             "data"_a = data, "fold"_a = fold, "folds"_a = options.folds,
                             "settings"_a = settings});
    }
    Node all{"cross_validation", [](std::vector<Evaluation> parts) { return parts; },
             "parts"_args = folds};

    TreeExecutor executor{"training", {table, output}};
    auto events = executor.yielding();
    const StopOnSignals stop_on_signals([&executor] { executor.stop(); });
    std::vector<Epoch> epochs;
    EpochLine line;
    while (auto event = co_await events.next()) {
        if (event->completed(split)) {
            print_data(data.output(), split.output(), settings);
        } else if (auto epoch = event->chunk(trained)) {
            line.show(epoch->output);
            epochs.push_back(epoch->output);
        }
    }
    line.clear();
    print_curve(epochs);
    print_evaluation(data.output(), evaluation.output());
    print_folds(all.output());
    fmt::print("\nsaved to {} and loaded again: the same model, the same {} predictions\n",
               options.model.string(), same.output());
}

// What was thrown first, inside all that was wrapped around it.
std::string innermost(const std::exception& error) {
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception& cause) {
        return innermost(cause);
    }
    return error.what();
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse_command_line(argc, argv);
    block_stop_signals();
    try {
        grafo::run(train_and_evaluate(options));
        return 0;
    } catch (const RunError& error) {
        if (error.errors().empty()) {
            fmt::print(stderr, "train: stopped\n");
            return 130;
        }
        const NodeError& first = error.errors().front();
        fmt::print(stderr, "train: {}: {}\n", first.node().id(), innermost(first));
    } catch (const std::exception& error) {
        fmt::print(stderr, "train: {}\n", error.what());
    }
    return 1;
}
