"""What a disk holds after its power was cut: all that was flushed, and of the rest any sector or none (disk.cpp keeps the record)."""
import os
import random
import shutil

PAGE, SECTOR = 4096, 512


class Disk:
    def __init__(self, data, library, seed):
        self.data, self.library, self.random = os.path.abspath(data), library, random.Random(seed)
        self.kept = self.data + "-kept"
        for part in ("data", "names"):
            os.makedirs(os.path.join(self.kept, part), exist_ok=True)

    def environment(self, fails=None):
        return {"LD_PRELOAD": self.library, "SNAPWARD_DISK": f"{self.data}:{self.kept}", **({"SNAPWARD_DISK_FAILS": fails} if fails else {})}

    def names(self, folder):
        return {n for n in os.listdir(folder) if n.startswith(("snapward.db", "journal-")) and not n.endswith("-shm")}

    def cut_power(self):
        """Leaves in the data folder what the disk has; returns how many sectors that were written and not flushed are gone."""
        luck, lost = self.random.choice([0, 0.5, 0.95]), 0
        flushed_names = self.names(os.path.join(self.kept, "names"))
        for name in sorted(self.names(self.data) | flushed_names):
            path, flushed_path = os.path.join(self.data, name), os.path.join(self.kept, "data", name)
            if name not in flushed_names and self.random.random() >= luck:
                os.unlink(path)
                continue
            written, flushed = (open(p, "rb").read() if os.path.exists(p) else b"" for p in (path, flushed_path))
            size = len(written) if self.random.random() < luck else len(flushed)
            out = bytearray(flushed[:size].ljust(size, b"\0"))
            for at in range(0, min(size, len(written)), PAGE):
                if out[at:at + PAGE] == written[at:at + PAGE]:
                    continue
                for sector in range(at, min(at + PAGE, size, len(written)), SECTOR):
                    if out[sector:sector + SECTOR] != written[sector:sector + SECTOR]:
                        if self.random.random() < luck:
                            out[sector:sector + SECTOR] = written[sector:sector + SECTOR]
                        else:
                            lost += 1
            with open(path, "wb") as file:
                file.write(out)
        for left in os.listdir(self.data):
            if left.endswith("-shm"):
                os.unlink(os.path.join(self.data, left))
        # From here on all of it is on the disk.
        for part in ("data", "names"):
            shutil.rmtree(os.path.join(self.kept, part))
            os.makedirs(os.path.join(self.kept, part))
        for name in self.names(self.data):
            shutil.copyfile(os.path.join(self.data, name), os.path.join(self.kept, "data", name))
            open(os.path.join(self.kept, "names", name), "w").close()
        return lost

    def remove(self):
        shutil.rmtree(self.kept, ignore_errors=True)
