// The files of a restored program: the decision, for all of them together, whether each is the real
// one or a copy of what it was, and their opening.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "state/context.hpp"
#include "state/files/kept_file.hpp"
#include "state/surroundings/neighbours.hpp"
#include "store/objects.hpp"

namespace ckpt::state {

/// Gives out the files of a snapshot for a restore: the real ones or scratch copies, each scratch
/// copy made once however many descriptors and mappings use it.
class FileSource {
 public:
  /// `stores`: where to look for kept contents, in this order; scratch copies are made in the
  /// first one that can be written to, else in memory.
  FileSource(std::vector<store::Objects> stores, RestoreOptions options);

  enum class Use {
    data,  // an open descriptor or shared mapping: the files mode decides
    code,  // a private mapping: must have the content it had, and then what the program writes
  };

  /// What a program writes to.
  struct Written {
    struct File {
      const KeptFile* file = nullptr;
      bool mapped = false;  // by a shared mapping, too
    };
    std::vector<File> files;
    std::set<std::string> directories;  // others, in which it finds things by name
  };
  /// Before the first check(), with all of it: in the modes `automatic` and `sandbox` it comes back
  /// together, as the files themselves, as they were in a sandbox, or as private copies. Throws
  /// Error (files) where none of them can be.
  void decide_together(const Written& written, const Neighbours& neighbours);

  [[nodiscard]] bool wants_sandbox() const { return together_ == Together::sandbox; }
  /// If that was decided: puts this process, which has one thread, and its children into the
  /// sandbox, the first time. Where there can be none the files come back as private copies, with a
  /// note, unless the sandbox was asked for: then it throws Error.
  void enter_sandbox();

  /// The files that the options name for standard streams, opened outside the sandbox: they are of
  /// the user who named them.
  const std::map<int, UniqueFd>& open_streams();

  /// Whether the process that was saved still runs.
  [[nodiscard]] bool original_runs() const { return original_runs_; }
  /// Whether a thing at `path` that is no regular file must be kept apart from that process.
  [[nodiscard]] bool apart(const std::string& path) const;
  /// Whether the path leads to the program's own, in the sandbox.
  [[nodiscard]] bool in_sandbox(const std::string& path) const;

  /// Decides without opening anything for the program. Throws Error (files) when the file cannot
  /// come back in the mode that was asked for. Notes what the user should know.
  void check(const KeptFile& file, Use use);

  /// After all files were checked. Throws Error (files) naming a file that was to be replaced
  /// (OLD=NEW) but that the program does not have.
  void check_replacements() const;

  /// Opens the file as decided; `flags` as in open(2). Offsets are the caller's.
  UniqueFd open(const KeptFile& file, Use use, int flags);

  /// The same for a descriptor. The first one of a memfd is what memfd_create(2) gives: another one
  /// that can write forbids to execute it (ETXTBSY). One from O_TMPFILE keeps that flag.
  UniqueFd open_description(const KeptFile& file, int flags);
  /// No descriptor has any yet, or any more: a restore may be tried twice.
  void begin_descriptions() { given_.clear(); }

  /// The path that holds the file's content on disk: the file itself or the store's copy.
  /// Throws Error (files) if there is neither.
  std::string content_path(const KeptFile& file);

  /// For a file that was given out with huge pages, of which there are too few: the next open()
  /// makes it anew, with ordinary ones. False if it has none from here.
  bool use_ordinary_pages(const KeptFile& file);

  /// Gives copies the attributes, and memfds the seals, that they had, when all is mapped and
  /// written.
  void restore_attributes();
  /// Closes what was opened for the program, which has it by now.
  void let_go();

  [[nodiscard]] bool is_scratch(const KeptFile& file, Use use);
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  /// Says it once, though a restore may be tried twice.
  void note(const std::string& text);
  [[nodiscard]] const RestoreOptions& options() const { return options_; }

 private:
  struct Choice {
    bool scratch = false;
    std::string path;  // the real file
  };
  const Choice& choose(const KeptFile& file, Use use);
  bool decide(const KeptFile& file, Use use);
  Found look(const KeptFile& file, bool by_content);
  [[nodiscard]] bool comes_back_with_others(const KeptFile& file) const;
  [[nodiscard]] bool is_written_elsewhere(const KeptFile& file);
  void make_private(const std::string& reason);
  void put_as_saved(const KeptFile& file, std::map<std::string, std::string>& first_names);
  [[nodiscard]] bool has_other_names(const KeptFile& file) const;
  [[nodiscard]] std::string names_of_written() const;
  void note_private_copy(const KeptFile& file, Found found);
  [[nodiscard]] std::optional<std::string> find_object(const KeptFile& file) const;
  int scratch_copy(const KeptFile& file);
  UniqueFd make_huge_copy(const KeptFile& file, const std::string& source, unsigned flags);
  static std::string key(const KeptFile& file);
  // Two names of one file have one copy.
  static std::string copy_key(const KeptFile& file);

  std::vector<store::Objects> stores_;
  RestoreOptions options_;
  std::map<std::string, Choice> data_choices_;
  std::map<std::string, Choice> code_choices_;
  std::map<std::pair<std::string, bool>, Found> looks_;
  std::map<int, UniqueFd> streams_;
  std::map<std::string, UniqueFd> scratch_;
  std::set<std::string> given_;             // memfds that a descriptor has
  std::map<std::string, KeptFile> copied_;  // what the private copies are of
  std::set<std::string> ordinary_pages_;    // wanted huge ones
  std::set<std::string> replaced_;
  std::set<std::string> writable_;  // what the program can write to, with a name or without
  enum class Together { real, sandbox, private_copies };
  std::map<std::string, const KeptFile*> written_;  // what comes back together, by key()
  Together together_ = Together::real;
  std::string reason_;  // why not the files themselves
  bool has_neighbours_ = false;
  std::set<std::string> covered_;  // directories of the sandbox
  std::set<dev_t> overlays_;
  bool entered_ = false;
  bool original_runs_ = false;
  std::vector<std::string> notes_;
};

}  // namespace ckpt::state
