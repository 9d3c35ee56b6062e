"""The learning loop: corrections, pairs, splits, runs, adapters, evaluations, alerts, ledger, erasures."""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema; a way back is not offered, a backup is."""
    op.create_table('adapters',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('state_since', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('base_model', sa.Text(), nullable=False),
    sa.Column('base_revision', sa.Text(), nullable=False),
    sa.Column('prompt_version', sa.Text(), nullable=False),
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('data_hash', sa.Text(), nullable=False),
    sa.Column('settings_hash', sa.Text(), nullable=False),
    sa.Column('train_pairs', sa.Integer(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('replaced', sa.Text(), nullable=False),
    sa.Column('verdict', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('tainted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('retire_by', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state IN ('candidate', 'active', 'retired', 'rejected')", name=op.f('ck_adapters_state')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_adapters'))
    )
    with op.batch_alter_table('adapters', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_adapters_created_at'), ['created_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_adapters_run_id'), ['run_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_adapters_scope'), ['scope'], unique=False)
        batch_op.create_index('uq_adapters_active', ['scope'], unique=True, sqlite_where=sa.text("state = 'active'"), postgresql_where=sa.text("state = 'active'"))

    op.create_table('alerts',
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('sentence', sa.Text(), nullable=False),
    sa.Column('command', sa.Text(), nullable=False),
    sa.Column('raised_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('cleared_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_alerts'))
    )
    op.create_table('authorisations',
    sa.Column('platform', sa.Text(), nullable=False),
    sa.Column('authorised_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('authorised_by', sa.Text(), nullable=False),
    sa.Column('basis', sa.Text(), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_by', sa.Text(), nullable=False),
    sa.CheckConstraint("platform IN ('slack', 'discord')", name=op.f('ck_authorisations_platform')),
    sa.PrimaryKeyConstraint('platform', 'authorised_at', name=op.f('pk_authorisations'))
    )
    op.create_table('erasures',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('salt', sa.Text(), nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('counts', sa.JSON(), nullable=False),
    sa.CheckConstraint("kind IN ('user', 'conversation')", name=op.f('ck_erasures_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_erasures'))
    )
    op.create_table('evaluations',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('adapter_id', sa.Text(), nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('against', sa.Text(), nullable=False),
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('verdict', sa.Text(), nullable=False),
    sa.Column('blind_references', sa.Integer(), nullable=False),
    sa.Column('report', sa.JSON(), nullable=False),
    sa.CheckConstraint("verdict IN ('better', 'worse', 'inconclusive')", name=op.f('ck_evaluations_verdict')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_evaluations'))
    )
    with op.batch_alter_table('evaluations', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_evaluations_adapter_id'), ['adapter_id'], unique=False)

    op.create_table('ledger',
    sa.Column('seq', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('details', sa.JSON(), nullable=False),
    sa.Column('previous', sa.Text(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_ledger'))
    )
    with op.batch_alter_table('ledger', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_ledger_action'), ['action'], unique=False)
        batch_op.create_index(batch_op.f('ix_ledger_actor'), ['actor'], unique=False)
        batch_op.create_index(batch_op.f('ix_ledger_at'), ['at'], unique=False)

    op.create_table('near_keys',
    sa.Column('band', sa.Text(), nullable=False),
    sa.Column('conversation_key', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('band', 'conversation_key', name=op.f('pk_near_keys')),
    sqlite_with_rowid=False
    )
    op.create_table('person_keys',
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('person', name=op.f('pk_person_keys'))
    )
    op.create_table('promotion_requests',
    sa.Column('adapter_id', sa.Text(), nullable=False),
    sa.Column('requested_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('requested_by', sa.Text(), nullable=False),
    sa.Column('against', sa.Text(), nullable=False),
    sa.Column('forced', sa.Boolean(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('adapter_id', name=op.f('pk_promotion_requests'))
    )
    op.create_table('promotions',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('adapter', sa.Text(), nullable=False),
    sa.Column('replaced', sa.Text(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('forced', sa.Boolean(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.CheckConstraint("kind IN ('promote', 'rollback', 'retire')", name=op.f('ck_promotions_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_promotions'))
    )
    with op.batch_alter_table('promotions', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_promotions_scope_at'), ['scope', 'at'], unique=False)

    op.create_table('runs',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('cause', sa.Text(), nullable=False),
    sa.Column('slot', sa.Text(), nullable=False),
    sa.Column('requested_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('base_model', sa.Text(), nullable=False),
    sa.Column('base_revision', sa.Text(), nullable=False),
    sa.Column('prompt_version', sa.Text(), nullable=False),
    sa.Column('settings', sa.JSON(), nullable=False),
    sa.Column('settings_hash', sa.Text(), nullable=False),
    sa.Column('data_hash', sa.Text(), nullable=False),
    sa.Column('train_pairs', sa.Integer(), nullable=False),
    sa.Column('validation_pairs', sa.Integer(), nullable=False),
    sa.Column('left_out', sa.JSON(), nullable=False),
    sa.Column('step', sa.Integer(), nullable=False),
    sa.Column('steps', sa.Integer(), nullable=False),
    sa.Column('resumed', sa.Integer(), nullable=False),
    sa.Column('adapter_id', sa.Text(), nullable=False),
    sa.Column('metrics', sa.JSON(), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.CheckConstraint("cause IN ('manual', 'schedule', 'erasure', 'demo')", name=op.f('ck_runs_cause')),
    sa.CheckConstraint("state IN ('queued', 'running', 'stopped', 'finished', 'failed', 'refused')", name=op.f('ck_runs_state')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_runs'))
    )
    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_runs_scope_created_at'), ['scope', 'created_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_runs_state'), ['state'], unique=False)

    op.create_table('splits',
    sa.Column('conversation_key', sa.Text(), nullable=False),
    sa.Column('side', sa.Text(), nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('assigned_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("side IN ('train', 'heldout', 'bridge')", name=op.f('ck_splits_side')),
    sa.PrimaryKeyConstraint('conversation_key', name=op.f('pk_splits'))
    )
    with op.batch_alter_table('splits', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_splits_scope'), ['scope'], unique=False)

    op.create_table('pairs',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('content_hash', sa.Text(), nullable=False),
    sa.Column('conversation_key', sa.Text(), nullable=False),
    sa.Column('conversation_id', sa.Text(), nullable=True),
    sa.Column('origin', sa.Text(), nullable=False),
    sa.Column('platform', sa.Text(), nullable=False),
    sa.Column('workspace', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('public', sa.Boolean(), nullable=False),
    sa.Column('direct', sa.Boolean(), nullable=False),
    sa.Column('style', sa.Text(), nullable=False),
    sa.Column('focus', sa.Text(), nullable=False),
    sa.Column('output_language', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('split', sa.Text(), nullable=False),
    sa.Column('author_id', sa.Text(), nullable=False),
    sa.Column('author', sa.Text(), nullable=False),
    sa.Column('editor_id', sa.Text(), nullable=False),
    sa.Column('seen_draft', sa.Boolean(), nullable=False),
    sa.Column('draft_summary_id', sa.Text(), nullable=False),
    sa.Column('draft_adapter', sa.Text(), nullable=False),
    sa.Column('distance', sa.Float(), nullable=True),
    sa.Column('supersedes', sa.Text(), nullable=False),
    sa.Column('superseded_by', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('licence', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('decided_by', sa.Text(), nullable=False),
    sa.Column('reject_reason', sa.Text(), nullable=False),
    sa.Column('dialogue', sa.Text(), nullable=False),
    sa.Column('summary', sa.Text(), nullable=False),
    sa.Column('summaries', sa.JSON(), nullable=False),
    sa.CheckConstraint("origin IN ('edited', 'blind', 'imported', 'case')", name=op.f('ck_pairs_origin')),
    sa.CheckConstraint("split IN ('train', 'heldout', 'bridge')", name=op.f('ck_pairs_split')),
    sa.CheckConstraint("state IN ('pending', 'approved', 'rejected')", name=op.f('ck_pairs_state')),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_pairs_conversation_id_conversations'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pairs')),
    sa.UniqueConstraint('content_hash', name=op.f('uq_pairs_content_hash'))
    )
    with op.batch_alter_table('pairs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_pairs_author_id'), ['author_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_conversation_id'), ['conversation_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_conversation_key'), ['conversation_key'], unique=False)
        batch_op.create_index('ix_pairs_counted', ['platform', 'workspace', 'channel', 'public', 'direct', 'state', 'split', 'origin', 'superseded_by', 'created_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_created_at_id'), ['created_at', 'id'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_editor_id'), ['editor_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_source'), ['source'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_state_created_at_id'), ['state', 'created_at', 'id'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_superseded_by'), ['superseded_by'], unique=False)
        batch_op.create_index(batch_op.f('ix_pairs_supersedes'), ['supersedes'], unique=False)

    op.create_table('run_pairs',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('pair_id', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.CheckConstraint("role IN ('train', 'validation')", name=op.f('ck_run_pairs_role')),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_run_pairs_run_id_runs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('run_id', 'pair_id', name=op.f('pk_run_pairs'))
    )
    with op.batch_alter_table('run_pairs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_run_pairs_pair_id'), ['pair_id'], unique=False)

    op.create_table('run_progress',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('step', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('epoch', sa.Float(), nullable=False),
    sa.Column('loss', sa.Float(), nullable=False),
    sa.Column('learning_rate', sa.Float(), nullable=True),
    sa.Column('tokens_per_second', sa.Float(), nullable=True),
    sa.Column('memory_bytes', sa.BigInteger(), nullable=True),
    sa.CheckConstraint("kind IN ('train', 'validation')", name=op.f('ck_run_progress_kind')),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_run_progress_run_id_runs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('run_id', 'kind', 'step', name=op.f('pk_run_progress'))
    )
    op.create_table('corrections',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('summary_id', sa.Text(), nullable=False),
    sa.Column('author_id', sa.Text(), nullable=False),
    sa.Column('author', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('distance', sa.Float(), nullable=False),
    sa.Column('diff', sa.JSON(), nullable=False),
    sa.Column('about', sa.Text(), nullable=False),
    sa.Column('builds_on', sa.Text(), nullable=False),
    sa.Column('pair_id', sa.Text(), nullable=False),
    sa.CheckConstraint("kind IN ('edited', 'blind')", name=op.f('ck_corrections_kind')),
    sa.ForeignKeyConstraint(['summary_id'], ['summaries.id'], name=op.f('fk_corrections_summary_id_summaries'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_corrections'))
    )
    with op.batch_alter_table('corrections', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_corrections_author_id'), ['author_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_corrections_created_at'), ['created_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_corrections_summary_id'), ['summary_id'], unique=False)

    with op.batch_alter_table('conversations', schema=None) as batch_op:
        batch_op.add_column(sa.Column('direct', sa.Boolean(), server_default=sa.false(), nullable=False))

