"""A run, from data to a folder.

A *recipe* (`recipes`) is a TOML file that decides everything about a run except its seed, its device and
where its data is. A *run* (`run`) makes the objects that a recipe names (`sources`, `assembly`), trains them,
and leaves a *run folder* (`run_folder`) with settings, metrics, weights and pictures. In between, a *trainer*
(`trainer`) takes the steps and tells its *callbacks*, which write files or end it; its *state* (`state`) is
what an interrupted run goes on from, bit for bit. `report` and `learning_curves` show what runs came to.
"""
