#include "snapshot/snapshot.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "snapshot/environment.hpp"
#include "snapshot/kernel_pages.hpp"
#include "snapshot/machine.hpp"
#include "state/descriptors/pipes.hpp"
#include "state/surroundings/namespaces.hpp"
#include "store/directory.hpp"
#include "store/links.hpp"

namespace ckpt::snapshot {

namespace {

using image::Json;

using Written = state::FileSource::Written;

// In a sandbox that was asked for, all that the program has open is as it was, written to or not.
Written written_files(const Snapshot& snapshot, const state::RestoreOptions& options) {
  const bool all = options.files == state::FilesMode::sandbox;
  Written written;
  for (const auto& region : snapshot.saved.space.regions) {
    if (!region.file || region.backing != state::Backing::shared_file) continue;
    // "mw": it may be made writable, as long as the file may be written to.
    const bool writable = region.mapping.has_flag("mw") &&
                          (region.mapping.write || ::access(region.file->path.c_str(), W_OK) == 0);
    if (writable || all) written.files.push_back({&*region.file, writable});
  }
  for (const auto* description : state::files_in_use(snapshot.descriptors(), options))
    if ((description->flags & O_ACCMODE) != O_RDONLY || all)
      written.files.push_back({&*description->file, false});
  const auto add_directory = [&](const std::string& directory) {
    if (directory.size() > 1 && ::access(directory.c_str(), W_OK) == 0)
      written.directories.insert(directory);
  };
  for (const auto& description : snapshot.shared.descriptions)
    if (const auto* pipe = description.as<state::Pipe>(); pipe && pipe->named)
      add_directory(description.path.substr(0, description.path.rfind('/')));
  if (all) add_directory(snapshot.saved.process.directory);
  return written;
}

state::Neighbours find_neighbours(const Snapshot& snapshot, const Written& written,
                                  const state::RestoreOptions& options) {
  state::Neighbours found;
  const Tid pid = snapshot.saved.threads.front().lwp;
  if (!options.ending.contains(pid) &&
      state::still_runs({pid, snapshot.saved.process.start_ticks, snapshot.host.boot_id}))
    found.original = pid;
  // With these modes it makes no difference who writes to the files.
  if (found.original || options.files == state::FilesMode::real ||
      options.files == state::FilesMode::private_copies)
    return found;
  std::vector<std::string> paths;
  for (const auto& each : written.files)
    if (!each.file->deleted) paths.push_back(each.file->path);
  found.writer = state::find_writer(paths, options.ending);
  return found;
}

}  // namespace

Snapshot::Snapshot(const std::string& path) : Snapshot(image::Reader::open(path)) {}

Snapshot::Snapshot(image::Reader opened) : reader(std::move(opened)) {
  in_file(reader.path(), [&] {
    auto record = image::decode<Record>(reader.record());
    store = std::move(record.store);
    host = std::move(record.host);
    terminal_size = std::move(record.terminal_size);
    shared = std::move(record.shared);
    saved = std::move(record.processes.at(0));
    check_references(saved, shared);
    xstate_layout =
        host.xstate.value_or(arch::presumed_xstate_layout(saved.threads.front().xstate));
    return 0;
  });
}

std::vector<store::Objects> stores_of(const Snapshot& snapshot,
                                      const state::RestoreOptions& options) {
  std::vector<store::Objects> stores;
  stores.push_back(
      store::Objects::at(options.store.empty() ? store::default_directory() : options.store));
  if (snapshot.store != stores.front().directory())
    stores.push_back(store::Objects::at(snapshot.store));
  return stores;
}

void claim_contents(const Snapshot& snapshot, const store::Objects& store) {
  store::claim(store.directory(), snapshot.reader.path(), snapshot.store);
}

namespace {

using FindNeighbours = state::Neighbours (*)(const Snapshot&, const Written&,
                                             const state::RestoreOptions&);

Checked check_beside(FindNeighbours neighbours, const Snapshot& snapshot, state::FileSource& files,
                     bool verify_memory, const state::Progress& progress) {
  using Use = state::FileSource::Use;
  return in_file(snapshot.reader.path(), [&] {
    Checked checked;
    check_machine(snapshot);
    if (needs_vdso_proxy(snapshot))
      checked.notes.push_back(
          fmt::format("the program keeps the vdso of Linux {}, which calls this kernel's",
                      vdso_kernel(snapshot)));
    checked.executable = files.content_path(snapshot.saved.program);
    checked.executable_replaced = files.is_scratch(snapshot.saved.program, Use::code);
    if (checked.executable_replaced)
      checked.notes.push_back(fmt::format(
          "{} {} since the snapshot: using the snapshot's own copy", snapshot.saved.program.path,
          state::found_text(state::look_for(snapshot.saved.program))));
    const auto written = written_files(snapshot, files.options());
    files.decide_together(written, neighbours(snapshot, written, files.options()));
    checked.hidden = files.wants_sandbox() && !state::may_make_namespaces();
    std::set<std::string> seen = {snapshot.saved.program.path};
    for (const auto& region : snapshot.saved.space.regions) {
      if (!region.file) continue;
      if (region.backing == state::Backing::shared_file) {
        files.check(*region.file, Use::data);
        continue;
      }
      files.check(*region.file, Use::code);
      if (region.file->in_memory) continue;
      if (!files.is_scratch(*region.file, Use::code) || !seen.insert(region.file->path).second)
        continue;
      checked.libraries.push_back({region.file->path, files.content_path(*region.file)});
      checked.notes.push_back(fmt::format("{} {} since the snapshot: using the snapshot's own copy",
                                          region.file->path,
                                          state::found_text(state::look_for(*region.file))));
    }
    state::check_descriptors(snapshot.descriptors(), files);
    files.check_replacements();
    check_environment(snapshot, files);
    const auto& first = snapshot.saved.threads.front().credentials;
    if (snapshot.saved.process.uid != ::geteuid() &&
        !(first && state::may_restore_credentials(*first)))
      checked.notes.push_back(fmt::format("the program ran as user {}: it goes on as user {}",
                                          snapshot.saved.process.uid, ::geteuid()));
    for (const auto& thread : snapshot.saved.threads)
      if (!thread.filters.empty() && !state::may_suspend_seccomp())
        fail(
            ErrorKind::refused,
            "thread {}: it runs under a seccomp filter, which only a privileged user may set again",
            thread.tid);
    if (verify_memory) snapshot.reader.verify_memory(progress);
    checked.notes.insert(checked.notes.end(), files.notes().begin(), files.notes().end());
    return checked;
  });
}

}  // namespace

Checked check(const Snapshot& snapshot, const state::RestoreOptions& options, bool verify_memory,
              const state::Progress& progress) {
  state::FileSource files(stores_of(snapshot, options), options);
  return check(snapshot, files, verify_memory, progress);
}

Checked check(const Snapshot& snapshot, state::FileSource& files, bool verify_memory,
              const state::Progress& progress) {
  auto checked = check_beside(find_neighbours, snapshot, files, verify_memory, progress);
  fault_point("restore-validate");
  return checked;
}

std::optional<std::string> why_not_restorable(image::Reader written) {
  const auto no_neighbours = [](const Snapshot&, const Written&, const state::RestoreOptions&) {
    return state::Neighbours{};
  };
  try {
    const Snapshot snapshot(std::move(written));
    state::RestoreOptions options;
    options.store = snapshot.store;
    state::FileSource files(stores_of(snapshot, options), options);
    check_beside(no_neighbours, snapshot, files, false, {});
    fault_point("save-check");
    return std::nullopt;
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace ckpt::snapshot
