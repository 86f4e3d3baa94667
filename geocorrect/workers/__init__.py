"""Who computes: one worker class, in this process, in processes of this machine, or as Ray actors."""
